"""A branch's data passes to another one without a file, and what an interrupt says of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tasks.adapters.process import Interrupted
from tasks.adapters.terminal.console import Console
from tasks.core.environment import Owner
from tasks.core.errors import SuiteError
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.flows.data import ChangePlan, Fresh, Place, change
from tasks.flows.data_copy import PARTS, BranchSource
from tasks.flows.target import Loan, Say
from tests.support.fakes import ME, NAMES, FakeDeployer

DATA = {"database": [b"rows" * 1000] * (PARTS * 3), "uploads": [b"one", b"", b"two"]}


@dataclass
class Container:
    """Stands for the PHP container of a branch, with the programs that copies need.

    Attributes:
        asked: the verbs, each with all that it was sent.
        says: what is said at the end of a dump, by default the truth.
        fails: the verbs that fail, with what they raise or their exit status.
        starts: whether the program that fails has begun to read.
        loan: how its database is read from elsewhere, where it can be.
        refuses: what is said where its owner does not lend it all the same.
    """

    asked: list[tuple[str, bytes]] = field(default_factory=list)
    says: dict[str, Any] = field(default_factory=dict)
    fails: dict[str, BaseException | int] = field(default_factory=dict)
    starts: bool = True
    loan: Loan | None = None
    refuses: BaseException | str = ""

    @property
    def lends(self) -> bool:
        return bool(self.loan)

    @contextlib.contextmanager
    def lend(self, names: Names, say: Say) -> Iterator[Loan | None]:
        self.asked.append(("lend", names.database.encode()))
        if isinstance(self.refuses, BaseException):
            raise self.refuses
        if self.refuses:
            say(self.refuses)
        yield None if self.refuses else self.loan
        self.asked.append(("take back", b""))

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
        failure = self.fails.get(verb, 0)
        if verb.endswith(" dump"):
            return self._dump(verb.split()[0], failure, take, on_line)
        if isinstance(failure, BaseException):
            self.asked.append((verb, b""))
            if self.starts:
                next(iter(source), b"")
            raise failure
        self.asked.append((verb, b"".join(source)))
        on_line("load: it says why")
        return failure

    def _dump(
        self,
        part: str,
        failure: BaseException | int,
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        for each in DATA[part]:
            take(each)
        if failure:
            on_line("dump: the database failed")
            return 1
        whole = b"".join(DATA[part])
        told = {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest(), **self.says}
        on_line(f"{'dump' if part == 'database' else part}: whole {json.dumps(told)}")
        return 0

    def admin_password(self, names: Names) -> str:
        return "secret"

    def begun_with(self, owner: Owner, names: Names) -> str:
        return "empty"


@dataclass
class World:
    """Two branches, of which one gets the other's data."""

    source: Container = field(default_factory=Container)
    target: Container = field(default_factory=Container)
    deployer: FakeDeployer = field(default_factory=FakeDeployer)
    said: io.StringIO = field(default_factory=io.StringIO)

    def place(self, container: Container) -> Place:
        owner = Owner("local", NAMES.slug, NAMES.branch, "https://git.example.org/m")
        return Place(owner, NAMES, container, self.deployer)

    def change(self, source: BranchSource | Fresh) -> None:
        plan = ChangePlan("copy", NAMES, {}, None, source.title, source.has_uploads)
        console = Console(Redactor(), stderr=self.said, environ={})
        change(self.place(self.target), lambda: plan, source, me=ME, console=console)

    def copy(self) -> None:
        self.change(BranchSource(self.place(self.source)))


@pytest.fixture
def world() -> World:
    return World()


LOAD = "database load migrate uploads"


def test_the_uploads_come_beside_then_the_database_and_both_take_their_place(world: World) -> None:
    world.copy()
    tar = b"".join(DATA["uploads"])
    digest = hashlib.sha256(tar).hexdigest()
    assert world.target.asked == [
        ("uploads stage", f"{{}}\n3\none3\ntwo0\n{digest}\n".encode()),
        (LOAD, b"secret\n" + b"".join(DATA["database"])),
    ]


COPY = "database copy migrate uploads"
LOAN = Loan("mt_other", "mt__reader", "of the reader")


def test_where_one_server_has_both_the_rows_are_read_there(world: World) -> None:
    world.source.loan = LOAN
    world.copy()
    line = '{"database": "mt_other", "user": "mt__reader", "password": "of the reader"}\n'
    assert world.target.asked[1:] == [(COPY, f"secret\n{line}".encode())]
    database = NAMES.database.encode()
    assert world.source.asked == [("lend", database), ("take back", b"")]
    assert "of the reader" not in repr(LOAN)


def test_a_server_s_owner_who_does_not_lend_is_told_and_the_rows_pass_on(world: World) -> None:
    world.source.loan, world.source.refuses = LOAN, "the rows pass through this machine: it is old"
    world.copy()
    assert world.target.asked[1] == (LOAD, b"secret\n" + b"".join(DATA["database"]))
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


def test_a_plan_says_that_the_rows_stay_inside_the_cluster(world: World) -> None:
    source = BranchSource(world.place(world.source))
    assert source.title == f"of {NAMES.branch}"
    world.source.loan = LOAN
    assert source.title == f"of {NAMES.branch}, inside the cluster"


@pytest.mark.parametrize("part", ["uploads", "database"])
def test_a_source_that_fails_is_the_error_and_its_part_has_no_end(world: World, part: str) -> None:
    world.source.fails = {f"{part} dump": 1}
    with pytest.raises(SuiteError, match="the database failed"):
        world.copy()
    asked = [verb for verb, _ in world.target.asked]
    assert asked == ([] if part == "uploads" else ["uploads stage"])
    assert threads() == []


def test_what_is_lost_on_its_way_is_noticed_before_the_end_is_sent(world: World) -> None:
    world.source.says = {"bytes": 7}
    with pytest.raises(SuiteError, match=r"not all of uploads\.tar has come: 7 bytes were sent"):
        world.copy()


@pytest.mark.parametrize("failure", [1, Interrupted(2, 143), SuiteError("broke off")])
def test_a_target_that_reads_no_more_ends_the_source(
    world: World, failure: BaseException | int
) -> None:
    world.target.fails = {LOAD: failure}
    with pytest.raises((SuiteError, Interrupted)):
        world.copy()
    assert threads() == []


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "passing"]


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
