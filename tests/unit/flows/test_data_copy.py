"""A branch's data is handed to another one, and what an interrupt says of it."""

from __future__ import annotations

import contextlib
import io
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from tasks.adapters.process import Interrupted
from tasks.adapters.terminal.console import Console
from tasks.core.environment import Owner
from tasks.core.errors import RefusedError, SuiteError
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.flows import handover
from tasks.flows.data import ChangePlan, Fresh, Place, change
from tasks.flows.data_copy import BranchSource
from tasks.flows.handover import COME_SECONDS, MEET_SECONDS, PORT
from tasks.flows.target import Loan, Say
from tests.support.fakes import ME, NAMES, FakeDeployer

MAIN = replace(NAMES, branch="main")
CUT_OFF = 76
WAIT_SECONDS = 60
LATER_SECONDS = 0.1


@dataclass
class Container:
    """Stands for the PHP container of a branch, with the programs that copies need.

    Attributes:
        asked: the verbs, each with all that it was sent.
        meets: where the ones at both ends meet; None says that the other has failed before.
        gone: the one that takes is about to end.
        early: the verbs that fail before they meet, with their exit status.
        fails: those that fail later, with that or with what they raise.
        starts: whether the program that fails has begun to read.
        loan: how its database is read from elsewhere, where it can be.
        refuses: what is said where its owner does not lend it all the same.
        closed: what is raised where nobody may come in.
        unnoticed: whether the one that takes does not see that the one that gives has gone.
    """

    meets: queue.Queue[bool | None]
    gone: threading.Event
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    early: dict[str, int] = field(default_factory=dict)
    fails: dict[str, BaseException | int] = field(default_factory=dict)
    starts: bool = True
    loan: Loan | None = None
    refuses: BaseException | str = ""
    closed: Exception | None = None
    unnoticed: bool = False

    @property
    def lends(self) -> bool:
        return bool(self.loan)

    @contextlib.contextmanager
    def lend(self, names: Names, say: Say) -> Iterator[Loan | None]:
        if self.loan:
            self.asked.append(("lend", names.database.encode()))
        if isinstance(self.refuses, BaseException):
            raise self.refuses
        if self.refuses:
            say(self.refuses)
        yield None if self.refuses else self.loan
        if self.loan:
            self.asked.append(("take back", b""))

    @contextlib.contextmanager
    def admit(self, names: Names, other: Names, port: int, say: Say) -> Iterator[None]:
        if self.closed:
            raise self.closed
        self.asked.append((f"admit {other.branch} to {names.branch} at {port}", b""))
        try:
            yield
        finally:
            self.asked.append(("close", b""))

    def pipe(
        self,
        owner: Owner,
        names: Names,
        words: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        verb = " ".join(words[words.index("mautic") + 1 :])
        if verb in self.early:
            self.meets.put(None)
            on_line(f"{words[-2]}: {verb} says why")
            return self.early[verb]
        if " give" in verb:
            self._give(verb, iter(source))
        elif " take" in verb:
            self._take(verb, iter(source), take)
        failure = self.fails.get(verb, 0)
        is_end = verb.split()[1] in {"give", "take"}
        if isinstance(failure, BaseException):
            if self.starts and not is_end:
                next(iter(source), b"")
            raise failure
        if not is_end:
            self.asked.append((verb, b"".join(source)))
        on_line(f"load: {verb} says why")
        return failure

    def _give(self, verb: str, source: Iterator[bytes]) -> None:
        self.asked.append((verb, next(source)))
        self.meets.put(True)
        if verb in self.fails:
            # Its end comes after that of the other one, though it is the reason.
            assert self.gone.wait(WAIT_SECONDS)
            time.sleep(LATER_SECONDS)
        else:
            list(source)

    def _take(self, verb: str, source: Iterator[bytes], take: Callable[[bytes], None]) -> None:
        self.gone.clear()
        password = next(source) if verb.startswith("database") else b""
        self.asked.append((verb, password + next(source)))
        # As it comes: in parts of any size.
        take(b'{"liste')
        take(b'ning": ["10.0.0.2"]}\n')
        if have_met := self.meets.get(timeout=WAIT_SECONDS):
            take(b'{"connected": "10.0.0.3:4444"}\n')
        if self.unnoticed:
            self.gone.set()
        if self.unnoticed or not have_met:
            list(source)
        self.gone.set()

    def admin_password(self, names: Names) -> str:
        return "secret"

    def begun_with(self, owner: Owner, names: Names) -> str:
        return "empty"


@dataclass
class World:
    """Two branches, of which one gets the other's data."""

    meets: queue.Queue[bool | None] = field(default_factory=queue.Queue)
    gone: threading.Event = field(default_factory=threading.Event)
    deployer: FakeDeployer = field(default_factory=FakeDeployer)
    said: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.source = Container(self.meets, self.gone)
        self.target = Container(self.meets, self.gone)

    def place(self, container: Container, names: Names = NAMES) -> Place:
        owner = Owner("local", names.slug, names.branch, "https://git.example.org/m")
        return Place(owner, names, container, self.deployer)

    def change(self, source: BranchSource | Fresh) -> None:
        plan = ChangePlan("copy", NAMES, {}, None, source.title, source.has_uploads)
        console = Console(Redactor(), stderr=self.said, environ={})
        change(self.place(self.target), lambda: plan, source, me=ME, console=console)

    def copy(self) -> None:
        self.change(BranchSource(self.place(self.source, MAIN)))

    def verbs(self) -> tuple[list[str], list[str]]:
        """Return what was asked of the source, and of the target."""
        asked = ([verb for verb, _ in each.asked] for each in (self.source, self.target))
        given, taken = asked
        return given, taken


@pytest.fixture
def world() -> Iterator[World]:
    yield World()
    assert [each for each in threading.enumerate() if each.name == "giver"] == []


TAKE = "database take migrate uploads"
ADMIT = f"admit main to {NAMES.branch} at {PORT}"
UPLOADS = [ADMIT, "uploads take", "close"]
BOTH = [*UPLOADS, ADMIT, TAKE, "close"]


def test_the_uploads_come_beside_then_the_database_and_both_take_their_place(world: World) -> None:
    world.copy()
    assert world.verbs() == (["uploads give", "database give"], BOTH)
    given = [json.loads(line) for _, line in world.source.asked]
    sent = [line.removeprefix(b"secret\n") for _, line in world.target.asked if line]
    taken = [json.loads(line) for line in sent]
    assert world.target.asked[4][1].startswith(b"secret\n")
    keys = [each["key"] for each in taken]
    assert len({*keys}) == 2
    assert {len(key) for key in keys} == {64}
    assert taken == [{"key": key, "port": PORT, "seconds": COME_SECONDS} for key in keys]
    reached = {"port": PORT, "seconds": MEET_SECONDS, "addresses": ["10.0.0.2"]}
    assert given == [{"key": key, **reached} for key in keys]
    assert not [key for key in keys if key in world.said.getvalue()]


COPY = "database copy migrate uploads"
LOAN = Loan("mt_other", "mt__reader", "of the reader")


def test_where_one_server_has_both_the_rows_are_read_there(world: World) -> None:
    world.source.loan = LOAN
    world.copy()
    line = '{"database": "mt_other", "user": "mt__reader", "password": "of the reader"}\n'
    assert world.target.asked[len(UPLOADS) :] == [(COPY, f"secret\n{line}".encode())]
    database = NAMES.database.encode()
    assert world.source.asked[1:] == [("lend", database), ("take back", b"")]
    assert "of the reader" not in repr(LOAN)


def test_a_server_s_owner_who_does_not_lend_is_told_and_the_rows_are_handed_over(
    world: World,
) -> None:
    world.source.loan = LOAN
    world.source.refuses = "the rows go from container to container: it is old"
    world.copy()
    assert world.verbs()[1] == BOTH
    assert world.source.refuses in world.said.getvalue()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_an_interrupt_while_the_rows_are_read_there_says_which_data_there_is(
    world: World, when: str
) -> None:
    world.source.loan = LOAN
    if when == "before":
        world.source.refuses = Interrupted(2)
    else:
        world.target.fails = {COPY: Interrupted(2, 143)}
    with pytest.raises(Interrupted):
        world.copy()
    said = world.said.getvalue()
    assert f"{NAMES.branch} has the data that it had" in said
    assert said.count(" has ") == 1


def test_a_plan_says_which_way_the_rows_go(world: World) -> None:
    source = BranchSource(world.place(world.source))
    assert source.title == f"of {NAMES.branch}, from container to container"
    world.source.loan = LOAN
    assert source.title == f"of {NAMES.branch}, inside the cluster"


@pytest.mark.parametrize(("part", "taken"), [("uploads", UPLOADS), ("database", BOTH)])
def test_a_source_that_fails_before_it_has_come_ends_the_other_and_is_the_error(
    world: World, part: str, taken: list[str]
) -> None:
    world.source.early = {f"{part} give": 1}
    with pytest.raises(SuiteError, match=f"{part} give says why"):
        world.copy()
    assert world.verbs()[1] == taken


@pytest.mark.parametrize("failure", [1, 137, SuiteError("the connection broke off")])
def test_a_source_that_fails_half_way_is_the_error_and_not_that_it_has_ended(
    world: World, failure: Exception | int
) -> None:
    world.source.fails = {"database give": failure}
    world.target.fails = {TAKE: CUT_OFF}
    with pytest.raises(SuiteError, match=r"database give says why|the connection broke off"):
        world.copy()
    assert world.verbs()[1] == BOTH


def test_a_source_that_goes_without_a_word_ends_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "END_SECONDS", LATER_SECONDS)
    world.source.fails = {"uploads give": 137}
    world.target.unnoticed = True
    with pytest.raises(SuiteError, match="uploads give says why"):
        world.copy()
    assert world.verbs()[1] == UPLOADS


def test_where_nothing_but_the_connection_between_them_failed_the_one_that_takes_says_so(
    world: World,
) -> None:
    world.source.fails = {"database give": CUT_OFF}
    world.target.fails = {TAKE: CUT_OFF}
    with pytest.raises(SuiteError, match="database take migrate uploads says why"):
        world.copy()


@pytest.mark.parametrize("failure", [1, 137, Interrupted(2, 143), SuiteError("broke off")])
def test_a_target_that_ends_lets_go_of_the_source(
    world: World, failure: BaseException | int
) -> None:
    world.target.fails = {TAKE: failure}
    with pytest.raises((SuiteError, Interrupted), match=f"{TAKE} says why|SIGINT|broke off"):
        world.copy()
    assert world.verbs() == (["uploads give", "database give"], BOTH)
    said = f"{NAMES.branch} has the data that it had" in world.said.getvalue()
    assert said == isinstance(failure, Interrupted)


def test_a_target_that_ends_before_it_listens_is_the_error(world: World) -> None:
    world.target.early = {"uploads take": 1}
    with pytest.raises(SuiteError, match="uploads take says why"):
        world.copy()
    assert world.verbs() == ([], [ADMIT, "close"])


@pytest.mark.parametrize("which", ["source", "target"])
def test_an_image_from_before_is_named(world: World, which: str) -> None:
    container = world.source if which == "source" else world.target
    container.early = {"uploads give": 64, "uploads take": 64}
    with pytest.raises(SuiteError, match="says why") as caught:
        world.copy()
    branch = "main" if which == "source" else NAMES.branch
    assert caught.value.hint
    assert f"the release of {branch} that runs is of an image from before" in caught.value.hint


def test_where_nobody_may_come_in_nothing_is_started(world: World) -> None:
    world.target.closed = RefusedError("you may not")
    with pytest.raises(RefusedError):
        world.copy()
    assert world.verbs() == ([], [])


def test_whoever_waits_for_the_other_is_sent_something_now_and_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "ALIVE_SECONDS", 0.01)
    source = handover.Handover(world.place(world.source), ("mautic", "uploads", "give")).source()
    assert json.loads(next(source))["port"] == PORT
    assert [next(source), next(source)] == [b"\n", b"\n"]


OLD = f"{NAMES.branch} has the data that it had"
NEW = f"{NAMES.branch} has the new data"
RESET = "database reset migrate uploads"


@pytest.mark.parametrize(
    ("verb", "status", "told"),
    [
        ("uploads empty", 143, OLD),
        # That it has ended well says nothing of the data.
        ("uploads empty", 0, OLD),
        (RESET, 143, OLD),
        (RESET, 1, OLD),
        (RESET, 0, NEW),
        (RESET, None, f"the program that changes the data of {NAMES.branch} has not ended yet"),
    ],
)
def test_an_interrupt_says_which_data_the_branch_has(
    world: World, verb: str, status: int | None, told: str
) -> None:
    world.target.fails = {verb: Interrupted(2, status)}
    with pytest.raises(Interrupted):
        world.change(Fresh())
    said = world.said.getvalue()
    assert told in said
    assert said.count(" has ") == 1
    assert world.deployer.seen[-1] == "unlock"


def test_an_interrupt_before_the_program_has_begun_leaves_what_was_there(world: World) -> None:
    world.target.fails = {RESET: Interrupted(15)}
    world.target.starts = False
    with pytest.raises(Interrupted):
        world.change(Fresh())
    assert OLD in world.said.getvalue()


def test_an_interrupt_while_the_site_is_asked_comes_after_the_change(world: World) -> None:
    world.deployer.fails = {"get /s/login": [Interrupted(15)]}
    with pytest.raises(Interrupted):
        world.change(Fresh())
    assert NEW in world.said.getvalue()
