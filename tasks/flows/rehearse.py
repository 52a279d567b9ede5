"""Rehearses an upgrade in an environment of its own, which is removed afterwards.

build, deploy, hold workers and crons, put a seed in as it is, run each migration alone, look at
plugins, scheduled commands and pages, tell, remove.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tasks.adapters.terminal.console import Activity, Console
from tasks.core.environment import Holder
from tasks.core.errors import RefusedError, SuiteError, UnfitError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.rehearsal import (
    CHECK_COLUMNS,
    MIGRATION_COLUMNS,
    CheckResult,
    Migrated,
    Rehearsal,
    read_checks,
    read_migrations,
)
from tasks.core.seeds import Seed
from tasks.flows.data import Place, SeedSource, run_image
from tasks.flows.target import ADMIN

MIGRATIONS = ("mautic", "rehearse", "migrations")
PLUGINS = ("mautic", "rehearse", "plugins")
CRONS = ("mautic", "rehearse", "crons")
PAGES = ("mautic", "rehearse", "pages")


class Stage(Protocol):
    """Makes the environment that is rehearsed in, and takes it away."""

    @property
    def tag(self) -> str:
        """The tag of its images."""

    def build(self) -> object:
        """Build its images."""

    def deploy(self) -> object:
        """Deploy them, with an empty database."""

    def remove(self) -> int:
        """Remove everything of it; return the number of objects. Safe where there is nothing."""


@dataclass(frozen=True)
class RehearsalPlan:
    """What a rehearsal does.

    Attributes:
        branch: whose upgrade it is.
        names: of the environment that it happens in.
        mautic: the other version of Mautic, or the image that holds it; empty for the project's.
        seed: the data.
        keep: whether the environment stays.
    """

    branch: str
    names: Names
    mautic: str
    seed: Seed
    keep: bool

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"rehearse the upgrade of {self.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        seed = f"seed {self.seed.id} of {self.seed.source}"
        what = f"{self.seed.rows:,} rows, of Mautic {self.seed.mautic or 'unknown'}"
        end = Step("keep", self.names.branch) if self.keep else Step("remove", self.names.branch)
        return (
            Step("build", "images mautic and nginx", self.mautic and f"with Mautic {self.mautic}"),
            Step("deploy", self.names.branch, self.names.url),
            Step("hold", "workers and crons"),
            Step("fill", f"database {self.names.database}", f"with {seed}: {what}"),
            Step("migrate", f"database {self.names.database}", "each migration alone, measured"),
            Step("check", "plugins, scheduled commands, pages"),
            end,
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.branch,
            "environment": self.names.environment,
            "seed": self.seed.as_dict(),
            "steps": [asdict(step) for step in self.steps],
        }


def rehearse(
    plan: RehearsalPlan,
    stage: Stage,
    place: Place,
    source: SeedSource,
    *,
    me: Holder,
    console: Console,
    evidence: Path,
) -> Rehearsal:
    """Rehearse an upgrade, and return what came of it; its failures are results, not errors.

    Whatever ends it, Ctrl-C as well, the environment is removed, unless it is to be kept.

    Args:
        plan: the plan.
        stage: makes and removes the environment.
        place: the environment.
        source: the seed.
        me: this run, as the holder of the environment's lock.
        console: shows progress.
        evidence: where the logs are saved if something fails.

    Raises:
        SuiteError: a step failed that is none of the upgrade's.
    """
    began, names = datetime.now(UTC).isoformat(timespec="seconds"), plan.names
    seconds: dict[str, float] = {}
    source.check(console)
    with _removed(plan, stage, console):
        with _timed(seconds, "build"):
            stage.build()
        with _timed(seconds, "deploy"):
            stage.deploy()
        with place.deployer.exclusive(names, me, console.warn):
            with console.work("hold workers and crons") as activity:
                place.deployer.hold(place.owner, names, activity.say)
            with _timed(seconds, "data"):
                source.put(place, console, migrated=False)
            with _timed(seconds, "migrations"):
                migrated = _migrate(place, console)
            with _timed(seconds, "checks"):
                checks = () if _has_failed(migrated) else tuple(_look(place, console))
        done = Rehearsal(
            branch=plan.branch,
            environment=names.environment,
            tag=stage.tag,
            seed=plan.seed,
            began_at=began,
            seconds=seconds,
            migrated=migrated,
            checks=checks,
        )
        if done.failures:
            _save(place, evidence, console)
    return done


def show(console: Console, done: Rehearsal) -> None:
    """Print what came of a rehearsal: tables as data, the rest as messages."""
    console.say(f"{done.title}, with {done.data}")
    if done.migrated.results:
        console.table(MIGRATION_COLUMNS, [each.row() for each in done.migrated.results])
    if done.checks:
        console.table(CHECK_COLUMNS, [each.row() for each in done.checks])
    for line in done.summary:
        console.say(line)


def refuse_failures(done: Rehearsal) -> None:
    """Turn a rehearsal's failures into an exit code.

    Raises:
        UnfitError: something failed.
    """
    if done.failures:
        raise UnfitError(
            f"{done.title}: {len(done.failures)} failures", output="\n".join(done.failures)
        )


def refuse_present(place: Place, parts: int) -> None:
    """Refuse a second rehearsal in the environment of one that was kept, or is going on.

    Args:
        parts: how many services it has.

    Raises:
        RefusedError: there is one.
    """
    if parts:
        raise RefusedError(
            f"{place.names.branch} is there already: another rehearsal goes on, was kept, or was "
            "killed",
            hint=f"inv cleanup {place.names.options}",
        )


# -- internals ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _removed(plan: RehearsalPlan, stage: Stage, console: Console) -> Iterator[None]:
    """Remove the environment at the end, unless it is to be kept."""
    names = plan.names
    cleanup = f"inv cleanup {names.options}"
    if plan.keep:
        yield
        console.say(f"kept, without workers and crons: {names.url}; to remove it: {cleanup}")
        return
    try:
        yield
    finally:
        try:
            stage.remove()
        except BaseException:
            console.warn(f"{names.branch} may still be there: {cleanup}")
            raise


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = round(time.monotonic() - started, 1)


def _save(place: Place, evidence: Path, console: Console) -> None:
    """Save the logs; what was found out is more important than they are."""
    try:
        place.deployer.save_diagnostics(place.names, evidence)
        console.say(f"the logs: {evidence}")
    except (SuiteError, OSError) as error:
        console.warn(f"not all of the logs could be saved: {error}")


def _has_failed(migrated: Migrated) -> bool:
    return any(each.outcome == "failed" for each in migrated.results)


def _migrate(place: Place, console: Console) -> Migrated:
    with console.work(f"migrate {place.names.database}, one by one") as activity:
        found = read_migrations(_ask(place, MIGRATIONS, activity, _told_migration))
        activity.outcome = f"{len(found.results)} of {found.pending}"
    return found


def _look(place: Place, console: Console) -> Iterator[CheckResult]:
    """Yield the results of all checks."""
    login = {"username": ADMIN, "password": place.data.admin_password(place.names)}
    # By stdin: in argv everybody could read it.
    line = json.dumps(login).encode() + b"\n"
    for title, words, sent in (
        ("reload the plugins", PLUGINS, b""),
        ("open the lists", PAGES, line),
        ("run each scheduled command", CRONS, b""),
    ):
        with console.work(title) as activity:
            yield from read_checks(_ask(place, words, activity, _told_check, sent))


def _ask(
    place: Place,
    words: tuple[str, ...],
    activity: Activity,
    tell: Callable[[dict[str, Any]], str],
    sent: bytes = b"",
) -> list[str]:
    """Run a program that writes lines of JSON; return them, each told as soon as it is there.

    Args:
        tell: returns what is said of a result.
        sent: what the program reads.
    """
    lines: list[str] = []
    rest = b""

    def take(part: bytes) -> None:
        nonlocal rest
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            lines.append(line.decode())
            activity.line(tell(json.loads(line)))

    run_image(place, words, take, activity, [sent] if sent else ())
    return lines


def _told_migration(result: dict[str, Any]) -> str:
    if "pending" in result:
        return f"{result['pending']} migrations are missing"
    return f"{result['migration']}: {result['outcome']}, {result['seconds']:.2f} s"


def _told_check(result: dict[str, Any]) -> str:
    return f"{result['name']}: {result['error'] or 'ok'}, {result['seconds']:.2f} s"
