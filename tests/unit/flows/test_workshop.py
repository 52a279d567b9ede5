"""A working tree that is shown as it is saved: the order of things, and the way back."""

from __future__ import annotations

import contextlib
import io
import signal
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tasks.adapters.process import Interrupted
from tasks.core.environment import Owner
from tasks.core.errors import EngineError, HeldError, RefusedError, SuiteError
from tasks.core.names import Names
from tasks.core.working_tree import Link
from tasks.flows.workshop import Shown, plan_dev, refuse_protected, run_dev, stop_dev
from tests.support.deploys import until
from tests.support.fakes import ME, NAMES, REQUEST, Calls, a_console

CLASS = "docroot/plugins/AcmeBundle/Model/A.php"
PAGE = "docroot/themes/acme/html/page.html.twig"
BODY = b"<?php class A { function go() { return 1; } }"


@dataclass
class FakeWorkshop(Calls):
    """An environment that shows files.

    Attributes:
        files: what it shows, by place.
        open_already: whether a killed run has left it open.
        slow: whether following takes until something else is to be done, which waits for its end.
        follows: whether it follows just now.
        cold: raised when it is to warm up, if it is set.
        warmed: what was done before it had warmed up, each time.
        idle: set once nothing is left to be done.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    open_already: bool = False
    slow: bool = False
    follows: bool = False
    cold: SuiteError | None = None
    warmed: list[list[str]] = field(default_factory=list)
    idle: threading.Event = field(default_factory=threading.Event)

    def is_open(self, owner: Owner, names: Names) -> bool:
        return self.open_already

    def open(self, owner: Owner, names: Names, *, debugger: bool) -> None:
        self.note("open with Xdebug" if debugger else "open")

    def hashes(self, owner: Owner, names: Names) -> Mapping[str, str]:
        return dict.fromkeys(self.files, "another")

    def write(self, owner: Owner, names: Names, files: bytes, gone: Sequence[str]) -> None:
        self.note("write")
        with tarfile.open(fileobj=io.BytesIO(files)) as tar:
            for entry in tar:
                content = tar.extractfile(entry) if entry.isfile() else None
                target = Link(entry.linkname.encode())
                self.files[entry.name] = content.read() if content else target
        for place in gone:
            del self.files[place]

    def warm_up(self, owner: Owner, names: Names) -> None:
        self.warmed.append(list(self.seen))
        if self.cold:
            raise self.cold

    def compile(self, owner: Owner, names: Names, *, routes: bool) -> None:
        until(lambda: not self.follows)
        self.note("compile with routes" if routes else "compile")

    def follow(self, owner: Owner, names: Names, go_on: Callable[[], bool]) -> bool:
        self.follows = True
        self.note("follow")
        while self.slow and go_on():
            time.sleep(0.01)
        self.follows = False
        return not self.slow

    def install(self, owner: Owner, names: Names) -> None:
        self.note("install")

    def restart(self, owner: Owner, names: Names, services: Sequence[str]) -> None:
        self.idle.set()
        self.note(f"restart {' '.join(services)}")

    def close(self, owner: Owner, names: Names) -> None:
        self.note("close")


class FakeTree:
    """A tree whose changes are a script: each step saves something, or interrupts the run."""

    def __init__(self, workshop: FakeWorkshop) -> None:
        self.files: dict[str, bytes] = {}
        self.workshop = workshop
        self.script: Iterator[Mapping[str, bytes | None] | BaseException] = iter(())

    def contents(self) -> dict[str, bytes]:
        return dict(self.files)

    def read(self, place: str) -> bytes | None:
        return self.files.get(place)

    def changed(self) -> set[str]:
        step = next(self.script, Interrupted(signal.SIGINT))
        if isinstance(step, BaseException):
            raise step
        if step:
            self.workshop.idle.clear()
        for place, content in step.items():
            if content is None:
                del self.files[place]
            else:
                self.files[place] = content
        return set(step)


@dataclass
class Bench:
    workshop: FakeWorkshop
    tree: FakeTree
    said: list[str] = field(default_factory=list)
    known: Sequence[str] = ()
    why_over: Callable[[], str] = str
    status: Callable[[], int] = lambda: 200

    @property
    def shown(self) -> Shown:
        return Shown(
            *(self.workshop, REQUEST.owner, NAMES, self.tree),
            status=self.status,
            known=lambda: self.known,
            why_over=self.why_over,
        )

    def run(self, *script: Mapping[str, bytes | None] | BaseException) -> list[str]:
        """Show the tree while it changes, and return what was called."""
        self.tree.script = iter(script)
        console, stream = a_console()
        try:
            run_dev(self.shown, me=ME, console=console, ready=lambda: lambda: None)
        finally:
            self.said = stream.getvalue().splitlines()
        return self.workshop.seen


@pytest.fixture
def bench() -> Bench:
    workshop = FakeWorkshop()
    return Bench(workshop, FakeTree(workshop))


class Waiting(Mapping[str, bytes | None]):
    """A step that waits until what was asked for before is done, and saves nothing."""

    def __init__(self, workshop: FakeWorkshop) -> None:
        self._workshop = workshop

    def __getitem__(self, place: str) -> bytes | None:
        raise KeyError(place)

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[str]:
        assert self._workshop.idle.wait(10)
        return iter(())


class Follows(Waiting):
    """A step that waits until the others have begun to follow so often."""

    def __init__(self, workshop: FakeWorkshop, times: int) -> None:
        super().__init__(workshop)
        self._times = times

    def __iter__(self) -> Iterator[str]:
        until(lambda: self._workshop.seen.count("follow") == self._times)
        return iter(())


def test_it_is_opened_filled_and_left(bench: Bench) -> None:
    bench.tree.files = {PAGE: b"one"}
    seen = bench.run(Waiting(bench.workshop))
    assert seen == ["lock", "open", "write", "restart worker", "close", "unlock"]
    assert bench.workshop.files == {PAGE: b"one"}
    assert bench.said[0] == "1 files, of which 1 differ from the deployed images"
    assert bench.said[-1] == f"✓ {NAMES.branch} in local runs what was deployed"


def test_a_file_of_the_images_that_the_tree_has_no_more_is_removed(bench: Bench) -> None:
    bench.workshop.files = {PAGE: b"one", "docroot/themes/release/a": b"two"}
    bench.known = [PAGE]
    bench.run()
    assert bench.workshop.files == {"docroot/themes/release/a": b"two"}


def test_a_template_is_shown_and_nothing_compiled(bench: Bench) -> None:
    bench.tree.files = {PAGE: b"one"}
    waiting = Waiting(bench.workshop)
    seen = bench.run(waiting, {PAGE: b"two"}, waiting)
    assert seen[3:-2] == ["restart worker", "write", "restart worker"]
    assert bench.workshop.files == {PAGE: b"two"}
    assert any(line.startswith(f"shown: {PAGE} (") for line in bench.said)


def test_a_new_class_is_shown_before_it_is_compiled(bench: Bench) -> None:
    seen = bench.run({CLASS: BODY}, Waiting(bench.workshop))
    assert seen[2:-2] == ["write", "compile", "follow", "restart worker"]


def test_it_warms_up_before_the_first_compile(bench: Bench) -> None:
    bench.run({CLASS: BODY}, Waiting(bench.workshop))
    (before,) = bench.workshop.warmed
    assert "compile" not in before
    assert any(line.startswith("ready to compile (") for line in bench.said)


def test_what_has_compiled_the_tree_is_warm(bench: Bench) -> None:
    bench.tree.files = {CLASS: BODY}
    seen = bench.run(Waiting(bench.workshop))
    assert ("compile with routes" in seen, bench.workshop.warmed) == (True, [])


def test_a_compile_follows_where_it_could_not_warm_up(bench: Bench) -> None:
    bench.workshop.cold = SuiteError("it is starting")
    seen = bench.run({CLASS: BODY}, Waiting(bench.workshop))
    assert ("! it is starting" in bench.said, "compile" in seen) == (True, True)


def test_what_cannot_be_compiled_is_tried_again_with_the_next_change(bench: Bench) -> None:
    bench.tree.files = {CLASS: BODY, PAGE: b"one"}
    bench.workshop.fails["compile with routes"] = [
        SuiteError("it cannot be compiled", output="line 3")
    ]
    seen = bench.run({PAGE: b"two"}, Waiting(bench.workshop))
    assert seen[2:-2] == [*("write", "compile with routes") * 2, "follow", "restart worker"]
    assert "! it cannot be compiled; the one before is used, and /s/login answers" in bench.said


def _no_response() -> int:
    raise SuiteError("http://a/s/login does not answer: refused")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (lambda: 500, "/s/login answers 500"),
        (_no_response, "http://a/s/login does not answer: refused"),
    ],
)
def test_what_cannot_be_compiled_may_be_what_each_page_reads(
    bench: Bench, status: Callable[[], int], reason: str
) -> None:
    bench.tree.files = {CLASS: BODY}
    bench.workshop.fails["compile with routes"] = [SuiteError("it cannot be compiled")]
    bench.status = status
    bench.run()
    assert f"! it cannot be compiled; pages fail until that is mended: {reason}" in bench.said


def test_a_link_is_shown_as_one(bench: Bench) -> None:
    one, two = "docroot/themes/acme/a.css", "docroot/themes/acme/c.css"
    bench.tree.files = {one: Link(b"b.css")}
    bench.run({two: Link(b"../d.css")})
    shown = bench.workshop.files
    assert shown == {one: b"b.css", two: b"../d.css"}
    assert {type(content) for content in shown.values()} == {Link}


def test_a_link_to_what_a_file_had_for_content_is_shown_and_the_way_back(bench: Bench) -> None:
    place = "docroot/themes/acme/a.css"
    bench.tree.files = {place: b"b.css"}
    bench.run({place: Link(b"b.css")})
    assert type(bench.workshop.files[place]) is Link
    bench.run({place: b"b.css"})
    assert type(bench.workshop.files[place]) is bytes


def test_the_next_change_does_not_wait_for_the_others_which_then_follow_both(bench: Bench) -> None:
    workshop = bench.workshop
    workshop.slow = True

    class Quick(Waiting):
        """A step from which on that is quick."""

        def __iter__(self) -> Iterator[str]:
            workshop.slow = False
            return super().__iter__()

    other = CLASS.replace("A.php", "B.php")
    seen = bench.run(
        {CLASS: BODY}, Follows(workshop, 1), {other: BODY}, Follows(workshop, 2), Quick(workshop)
    )
    assert seen[2:-2] == [*("write", "compile", "follow") * 2, "restart worker"]


def test_nobody_follows_any_more_when_it_is_left(bench: Bench) -> None:
    bench.workshop.slow = True
    seen = bench.run({CLASS: BODY}, Follows(bench.workshop, 1))
    assert not bench.workshop.follows
    assert seen[-4:] == ["compile", "follow", "close", "unlock"]


def test_what_cannot_be_written_is_written_later(bench: Bench) -> None:
    bench.workshop.fails["write"] = [EngineError("it is starting"), EngineError("it is starting")]
    bench.run({PAGE: b"one"}, {}, {}, Waiting(bench.workshop))
    assert bench.workshop.files == {PAGE: b"one"}
    assert bench.said.count("! it is starting") == 1


@pytest.mark.parametrize("place", ["open", "write"])
def test_after_a_failure_the_deployed_images_run(bench: Bench, place: str) -> None:
    bench.tree.files = {PAGE: b"one"}
    bench.workshop.fails[place] = [SuiteError("it broke")]
    with pytest.raises(SuiteError, match="it broke"):
        bench.run()
    assert bench.workshop.seen[-2:] == ["close", "unlock"]


def test_another_signal_than_ctrl_c_ends_the_run_as_ever(bench: Bench) -> None:
    with pytest.raises(KeyboardInterrupt) as found:
        bench.run(Interrupted(signal.SIGTERM))
    assert getattr(found.value, "signum", None) == signal.SIGTERM
    assert bench.workshop.seen[-2:] == ["close", "unlock"]


def test_the_second_ctrl_c_says_what_is_left(bench: Bench) -> None:
    bench.workshop.fails["close"] = [Interrupted(signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert bench.said[-1].endswith("still shows files: inv dev --stop or inv deploy ends that")


def test_another_branch_ends_it_and_is_not_shown(bench: Bench) -> None:
    bench.why_over = lambda: "other is checked out now"
    with pytest.raises(RefusedError, match="other is checked out"):
        bench.run({PAGE: b"of the other branch"})
    assert bench.workshop.files == {}
    assert bench.workshop.seen[-2:] == ["close", "unlock"]


def test_what_a_killed_run_has_left_is_undone_first(bench: Bench) -> None:
    bench.workshop.open_already = True
    assert bench.run()[:3] == ["lock", "close", "open"]


def test_stop_undoes_it_and_says_whether_there_was_anything(bench: Bench) -> None:
    console, _ = a_console()
    assert not stop_dev(bench.shown, me=ME, console=console)
    assert plan_dev(bench.shown, stop=True).steps == ()
    bench.workshop.open_already = True
    assert stop_dev(bench.shown, me=ME, console=console)
    assert [step.verb for step in plan_dev(bench.shown, stop=True).steps] == ["replace"]
    assert bench.workshop.seen == ["lock", "unlock", "lock", "close", "unlock"]


HELD = [
    ("x is held by ada@host; waiting for it", "x is held by ada@host"),
    ("x is held by ada@host since 2026; waiting for it", "x is held by ada@host since 2026"),
]


@pytest.mark.parametrize(("told", "said"), HELD)
def test_it_does_not_wait_for_another_run(
    bench: Bench, told: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exclusive(_: Names, me: object, warn: Callable[[str], None]) -> None:
        warn(told)

    monkeypatch.setattr(bench.workshop, "exclusive", exclusive)
    with pytest.raises(HeldError) as found:
        bench.run()
    assert found.value.message == said


def test_a_lock_that_a_killed_run_has_left_is_taken_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def exclusive(_: Names, me: object, warn: Callable[[str], None]) -> Iterator[None]:
        warn("taking over from ada@host, who is gone")
        yield

    monkeypatch.setattr(bench.workshop, "exclusive", exclusive)
    bench.run()
    assert bench.said[0] == "! taking over from ada@host, who is gone"


def test_an_interruption_while_the_last_is_done_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(_: object) -> None:
        raise Interrupted(signal.SIGINT)

    monkeypatch.setattr("tasks.flows.workshop._Chores.end", end)
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert "still shows files" in bench.said[-1]


def test_a_protected_environment_shows_nothing_but_what_was_built() -> None:
    refuse_protected("prod", protected=False)
    with pytest.raises(RefusedError):
        refuse_protected("prod", protected=True)
