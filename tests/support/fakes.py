"""Fakes of a target's ports, which record the calls of a flow in order."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.adapters.http import Response
from tasks.adapters.terminal.console import VERBOSE, Console
from tasks.core.cost import Requests
from tasks.core.environment import Failure, Holder, Owner, Record, Release, State
from tasks.core.foresight import Foresight, ObjectChange
from tasks.core.images.retention import ImageUse
from tasks.core.names import Names, names
from tasks.core.plan import Step
from tasks.core.points import Migrations, Point
from tasks.core.redact import Redactor
from tasks.core.sleep import NO_REST, Pinned, Rest, Sleep
from tasks.core.summary import EnvironmentSummary
from tasks.flows.target import (
    Credentials,
    DeployPlan,
    RemovalPlan,
    Request,
    Say,
    ServiceStatus,
    SleepPlan,
    without_messages,
)

NAMES: Names = names(
    "feature/x",
    environment="local",
    project="mautic",
    namespace="{project}-{slug}",
    host="{slug}.localhost",
    origin="http://{host}",
)
ME = Holder("ada@host", 1, "2026-01-01T00:00:00+00:00", "deploy", "1a2b3c4d")
REQUEST = Request(NAMES, "git@example.org:a/b.git", "ada@host", "1a2b3c4d", "1a2b3c4d" * 5)
RELEASE = Release(
    *("1a2b3c4d", "1a2b3c4d" * 5, "m@sha256:1", "n@sha256:1", "ada@host", "2026-01-01"),
    migration="Version1",
)
PAGES = {"/s/login": '<link rel="stylesheet" href="/style.css">', "/style.css": "a {}"}


def a_console(*, verbose: bool = True) -> tuple[Console, io.StringIO]:
    """Return a console in a pipe, and the stream with its output.

    Args:
        verbose: whether every line is printed as it comes.
    """
    said, environ = io.StringIO(), {VERBOSE: "1"} if verbose else {}
    return Console(Redactor(), stdout=io.StringIO(), stderr=said, environ=environ), said


@dataclass(frozen=True, kw_only=True)
class FakePlan(DeployPlan):
    """A plan whose steps a test chooses."""

    steps: tuple[Step, ...] = (Step("create", "service web"),)


PLAN = FakePlan(request=REQUEST, release=RELEASE, record=None, expires_at="")


@dataclass
class Calls:
    """The recorded calls in order, and the calls that fail, by name.

    A list of errors is used up, one with each call, after as many calls as are skipped.
    """

    seen: list[str] = field(default_factory=list)
    fails: dict[str, list[BaseException]] = field(default_factory=dict)
    skips: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        self.seen.append(what)
        if self.skips.get(what):
            self.skips[what] -= 1
        elif errors := self.fails.get(what):
            raise errors.pop(0)

    @contextlib.contextmanager
    def exclusive(self, _: Names, me: Holder, warn: Callable[[str], None]) -> Iterator[None]:
        self.note("lock")
        try:
            yield
        finally:
            self.seen.append("unlock")


@dataclass
class FakeDeployer(Calls):
    """A fake deployer: after `finish` the next plan has no steps."""

    plan: FakePlan = PLAN
    back: str | None = None
    failure: Failure | None = None
    known: tuple[str, ...] = ("Version1",)
    recorded: tuple[str, ...] = ("Version1",)
    points: list[Point] = field(default_factory=list)
    foreseen: Foresight = field(default_factory=Foresight)
    smoke_seconds: float = 0
    has_door: bool = False
    login_host: str = ""

    def prepare(self, request: Request) -> None:
        self.note("prepare")

    def plan_deploy(self, request: Request) -> FakePlan:
        self.note("plan")
        return replace(self.plan, request=request)

    def foresee(self, plan: FakePlan) -> Foresight:
        self.note("foresee")
        return self.foreseen

    def begin(self, plan: FakePlan) -> None:
        self.note("begin")

    def apply(self, plan: FakePlan) -> None:
        self.note("apply")
        if plan.request.restore:
            plan.restoring.run(lambda: self.note("restore"))

    def hold(self, owner: Owner, names: Names, say: Say) -> None:
        self.note("hold")

    def finish(self, plan: FakePlan) -> Credentials | None:
        self.note("finish")
        record = a_record(State.READY, plan.release)
        self.plan = replace(self.plan, steps=(), record=record)
        return Credentials("admin", "secret", "later") if plan.is_first else None

    def password_command(self, names: Names) -> str:
        return f"show the password of {names.branch}"

    def get(self, names: Names, path: str, *, stranger: bool = False) -> Response:
        self.note(f"get {path}{' as a stranger' if stranger else ''}")
        return Response(200, {}, PAGES[path])

    def save_diagnostics(self, names: Names, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.note("diagnostics")

    def roll_back(
        self, plan: FakePlan, point: Point | None = None, failure: Failure | None = None
    ) -> str | None:
        self.failure = failure
        self.note(f"roll back to snapshot {point.name}" if point else "roll back")
        return self.back

    def migrations(self, owner: Owner, names: Names) -> Migrations:
        self.note("migrations")
        return Migrations("7.0.0", self.known, self.recorded)

    def aside(self, plan: FakePlan, words: Sequence[str], on_line: Say) -> str:
        self.note(words[-1])
        if words[-1] == "snapshots":
            return "".join(json.dumps(asdict(point)) + "\n" for point in self.points)
        return json.dumps(asdict(Migrations("7.0.0", self.known, self.recorded)))


@dataclass
class FakeRemover(Calls):
    """A fake remover with a list of steps."""

    parallel_removals: int = 1
    left: list[Step] = field(default_factory=list)
    under_way: bool = False

    def holds_images(self, *, dry: bool) -> bool:
        return False

    def plan_removal(self, owner: Owner, names: Names) -> RemovalPlan:
        self.note("plan")

        def remove(step: Step) -> None:
            self.note(f"remove {step.subject}")
            self.left.remove(step)

        todo = tuple((step, without_messages(lambda step=step: remove(step))) for step in self.left)
        return RemovalPlan(f"clean up {names.branch}", todo, self.under_way)

    def remove_misnamed(self, found: EnvironmentSummary, say: Say) -> int:
        self.note(f"remove {found.namespace}")
        return 1


@dataclass
class FakeAdopter(Calls):
    """A fake adopter that records each adoption."""

    adopted: list[tuple[Owner, Names, str]] = field(default_factory=list)

    def adopt(self, owner: Owner, names: Names, former: str) -> None:
        self.note("adopt")
        self.adopted.append((owner, names, former))


@dataclass
class FakeSleeper(Calls):
    """A fake sleeper of services that run, the first to be stopped first.

    Attributes:
        up: the services that run.
        down: those that sleep, the last one stopped last.
        found: what is stored; None if nothing was ever deployed.
    """

    parallel_sleeps: int = 2
    up: list[str] = field(default_factory=lambda: ["worker", "web", "database"])
    down: list[str] = field(default_factory=list)
    found: Rest | None = NO_REST

    def rest(self, owner: Owner, names: Names) -> Rest | None:
        return self.found

    def plan_sleep(self, owner: Owner, names: Names, sleep: Sleep) -> SleepPlan:
        self.note("plan sleep")
        if not self.up:
            return SleepPlan("sleep")
        stops = [(Step("stop", name), self._move(self.up, self.down, name)) for name in self.up]
        return SleepPlan("sleep", ((Step("mark", "it"), self._mark(asleep=sleep)), *stops))

    def plan_wake(self, owner: Owner, names: Names, used_at: str) -> SleepPlan:
        self.note("plan wake")
        if not (self.found and self.found.asleep):
            return SleepPlan("wake")
        names_ = list(reversed(self.down))
        starts = [(Step("start", name), self._move(self.down, self.up, name)) for name in names_]
        mark = self._mark(asleep=None, used_at=used_at)
        return SleepPlan("wake", (*starts, (Step("mark", "it"), mark)))

    def pin(self, owner: Owner, names: Names, pin: Pinned | None) -> None:
        self.note("pin")
        self._mark(pin=pin)(None)

    def note_use(self, owner: Owner, names: Names, used_at: str) -> None:
        self.note("use")
        self._mark(used_at=used_at)(None)

    def _mark(self, **changes: Any) -> Callable[[object], None]:
        def mark(_: object) -> None:
            self.found = replace(self.found or NO_REST, **changes)

        return mark

    def _move(self, source: list[str], to: list[str], name: str) -> Callable[[object], None]:
        def move(_: object) -> None:
            self.note(f"{'stop' if source is self.up else 'start'} {name}")
            source.remove(name)
            if source is self.up:
                to.append(name)
            else:
                to.insert(0, name)

        return move


@dataclass
class FakeInspector:
    """A fake inspector of given environments."""

    found: list[EnvironmentSummary] = field(default_factory=list)
    strays: list[EnvironmentSummary] = field(default_factory=list)
    is_private: bool = False
    uses: list[ImageUse] = field(default_factory=list)
    measured: dict[str, Requests] | None = None
    drifted: Sequence[ObjectChange] | None = None
    parts: Sequence[ServiceStatus] = ()

    def usage(self) -> dict[str, Requests] | None:
        return self.measured

    def list(self, repository: str = "") -> Sequence[EnvironmentSummary]:
        return [*self.found, *self.strays] if repository else self.found

    def image_uses(self) -> Sequence[ImageUse]:
        return self.uses

    def find_names(self, candidates: Sequence[Names]) -> Names:
        return candidates[0]

    def status(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        return self.parts

    def scheduled(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        return ()

    def drift(self, owner: Owner, names: Names) -> Sequence[ObjectChange] | None:
        return self.drifted

    def record(self, owner: Owner, names: Names) -> Record | None:
        return None

    def logs(
        self,
        owner: Owner,
        names: Names,
        on_line: Callable[[str], None],
        *,
        service: str,
        follow: bool,
        tail: int | None,
        since_seconds: int,
    ) -> None:
        raise NotImplementedError

    def execute(self, owner: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        raise NotImplementedError


def a_record(state: State = State.READY, *releases: Release) -> Record:
    """Return a record of an environment of `NAMES`."""
    return Record(state, NAMES.url, history=releases)
