"""What becomes of the data when a release goes back, and when a snapshot is brought back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.process import Interrupted
from tasks.core.environment import Owner, Record, State
from tasks.core.errors import InputError, RefusedError, SuiteError
from tasks.core.names import Names
from tasks.core.points import Migrations, Point
from tasks.flows.data import Place
from tasks.flows.deploy import run_deploy
from tasks.flows.dumping import plan_dump
from tasks.flows.points import plan_restore, plan_rollback, plan_snapshot, restore, rows, take
from tests.support.fakes import (
    ME,
    NAMES,
    PLAN,
    RELEASE,
    REQUEST,
    FakeDeployer,
    a_console,
    a_record,
)

EARLIER = replace(RELEASE, tag="old", mautic="m@sha256:0", migration="Version1")
BACK = replace(REQUEST, tag="", rollback=True)
WITH_DATA = replace(BACK, with_data=True)
SAME, NEWER = ("Version1",), ("Version1", "Version2", "Version3")
POINT = Point(
    *("0", "2026-02-01T10:00:05Z", "7.0.0", "before 2 migrations", 9, 1000),
    migration="Version1",
)
LATER = replace(POINT, name="1", taken_at="2026-02-02T10:00:05Z")


def going_back(
    recorded: tuple[str, ...], *points: Point, migration: str = "Version1"
) -> FakeDeployer:
    """Return a deployer that goes back to a release."""
    release = replace(EARLIER, migration=migration)
    plan = replace(PLAN, release=release, record=a_record(State.READY, release, RELEASE))
    return FakeDeployer(plan=plan, recorded=recorded, points=[*points])


def unexpected(words: str) -> None:
    pytest.fail(f"warned: {words}")


def test_a_database_that_is_not_newer_is_left_alone() -> None:
    for request in (BACK, WITH_DATA):
        plan = plan_rollback(going_back(SAME, POINT), request, unexpected)
        assert plan.request.restore is None


def test_migrations_are_ordered_by_their_time_and_not_by_their_name() -> None:
    """Mautic 5.1 has one whose name is behind those of all that came later."""
    old = ("Version20240101000000", "Versionzz20230929183000")
    assert Migrations("5.1.0", old, old).newest == old[0]
    with pytest.raises(RefusedError, match=r"1 migration \(Version20250101000000\)"):
        plan_rollback(
            going_back((*old, "Version20250101000000"), migration=old[0]), BACK, unexpected
        )


def test_a_newer_database_is_refused_with_the_names_and_the_ways() -> None:
    with pytest.raises(
        RefusedError, match=r"2 migrations \(Version2, Version3\) that old does"
    ) as e:
        plan_rollback(going_back(NEWER, POINT), BACK, unexpected)
    assert e.value.exit_code == 3
    assert "--with-data goes back to snapshot 0 of 2026-02-01T10:00:05Z" in str(e.value.hint)
    assert "--keep-data" in str(e.value.hint)


@pytest.mark.parametrize(
    "points",
    [(), (replace(POINT, migration="Version2"),), (replace(POINT, half=True),)],
    ids=["none", "newer", "half migrated"],
)
def test_without_a_snapshot_that_fits_the_data_cannot_go_back(points: tuple[Point, ...]) -> None:
    with pytest.raises(RefusedError, match="the database has 2 migrations") as caught:
        plan_rollback(going_back(NEWER, *points), WITH_DATA, unexpected)
    assert "no snapshot is from before them" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("points", "chosen"),
    [
        ((POINT, LATER), "1"),
        ((POINT, replace(LATER, migration="Version2")), "0"),
        ((POINT, replace(LATER, half=True)), "0"),
        ((replace(POINT, open=True), replace(LATER, half=True)), "0"),
    ],
    ids=["the newest", "that the release knows", "that is whole", "from before what failed"],
)
def test_the_newest_snapshot_that_the_release_runs_on_goes_with_it(
    points: tuple[Point, ...], chosen: str
) -> None:
    plan = plan_rollback(going_back(NEWER, *points), WITH_DATA, unexpected)
    assert plan.request.restore
    assert plan.request.restore.name == chosen


def test_migrations_that_failed_half_way_are_noticed_though_none_is_recorded() -> None:
    point = replace(POINT, open=True)
    with pytest.raises(RefusedError, match="half migrated"):
        plan_rollback(going_back(SAME, point), BACK, unexpected)
    plan = plan_rollback(going_back(SAME, point, migration=""), WITH_DATA, unexpected)
    assert plan.request.restore == point


OLD = f"{NAMES.branch} has the data that it had"
NEW = f"{NAMES.branch} has the new data"


class Nothing:
    """Brings no data."""

    plant = upload = fill = staticmethod(unexpected)


@pytest.mark.parametrize(
    ("where", "status", "told"),
    [
        ("begin", None, OLD),
        ("apply", 0, OLD),  # of a program that has nothing to do with the data
        ("restore", 143, OLD),
        ("restore", 0, NEW),
        ("restore", None, f"the program that changes the data of {NAMES.branch} has not ended yet"),
        ("get /s/login", None, NEW),
    ],
)
def test_a_way_back_of_the_data_that_is_interrupted_says_which_data_there_is(
    tmp_path: Path, where: str, status: int | None, told: str
) -> None:
    deployer = going_back(NEWER, POINT)
    deployer.fails = {where: [Interrupted(15, status)]}
    console, said = a_console()
    with pytest.raises(Interrupted):
        run_deploy(
            *(deployer, WITH_DATA),
            me=ME,
            console=console,
            root=tmp_path,
            beginning=Nothing(),
        )
    assert told in said.getvalue()
    assert said.getvalue().count(" has the ") <= 1
    assert deployer.seen[-1] == "unlock"


def of_earlier_images() -> FakeDeployer:
    deployer = going_back(NEWER)
    said = "mautic: database needs create, drop, mask, seed or unseal"
    deployer.fails = {"snapshots": [SuiteError("the program failed", output=said)]}
    return deployer


@pytest.mark.parametrize(
    ("deployer", "why"),
    [
        (going_back(NEWER, migration=""), "old was deployed by an earlier version of the suite"),
        (of_earlier_images(), "the image that runs is of an earlier version of the suite"),
    ],
    ids=["not recorded", "not asked"],
)
def test_after_an_earlier_version_of_the_suite_code_goes_back_in_doubt_and_data_does_not(
    deployer: FakeDeployer, why: str
) -> None:
    failures = {name: list(errors) for name, errors in deployer.fails.items()}
    told: list[str] = []
    assert plan_rollback(deployer, BACK, told.append).request.restore is None
    words = f"whether the database is newer than old is not known: {why}; the data stays as it is"
    assert told == [words]
    deployer.fails = failures
    with pytest.raises(RefusedError, match=f"which data old runs on is not known: {why}"):
        plan_rollback(deployer, WITH_DATA, unexpected)


def test_the_snapshot_of_the_release_that_is_left_tells_what_was_before_it() -> None:
    point = replace(POINT, release=RELEASE.tag)
    others = (replace(LATER, release="else"), replace(LATER, release=RELEASE.tag, half=True))
    with pytest.raises(RefusedError, match="the database has 2 migrations"):
        plan_rollback(going_back(NEWER, point, *others, migration=""), BACK, unexpected)
    found = plan_rollback(going_back(NEWER, point, migration=""), WITH_DATA, unexpected)
    assert found.request.restore == point


def test_what_cannot_be_asked_is_refused_unless_the_data_is_to_stay() -> None:
    silent = going_back(NEWER)
    silent.fails = {"snapshots": [SuiteError("no pod is ready")]}
    with pytest.raises(RefusedError, match="cannot be asked: no pod is ready"):
        plan_rollback(silent, BACK, unexpected)
    keep = replace(BACK, keep_data=True)
    plan = plan_rollback(going_back(NEWER, migration=""), keep, unexpected)
    assert plan.request.restore is None


@pytest.mark.parametrize(
    ("state", "tag"),
    [(State.READY, "old"), (State.FAILED, "1a2b3c4d"), (State.DEPLOYING, "1a2b3c4d")],
)
def test_what_has_not_ended_well_is_left_for_the_last_that_did(state: State, tag: str) -> None:
    record: Record = a_record(state, EARLIER, RELEASE)
    assert BACK.release(record, lambda _: {}).tag == tag


# -- by hand --------------------------------------------------------------------------------------


@dataclass
class Programs:
    """Stands for the programs of an image, beside a branch's database.

    Attributes:
        points: the snapshots that there are.
        recorded: the migrations that the database has seen.
        run: the programs that changed something.
    """

    points: list[Point] = field(default_factory=list)
    recorded: tuple[str, ...] = SAME
    run: list[str] = field(default_factory=list)

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
        match words[-1]:
            case "snapshots":
                take("".join(json.dumps(asdict(each)) + "\n" for each in self.points).encode())
            case "migrations":
                take(json.dumps(asdict(Migrations("7.0.0", NEWER, self.recorded))).encode())
            case "content":
                take(b'{"leads": 3}')
            case "snapshot":
                self.run.append("snapshot")
                self.points = [*self.points[-8:], replace(LATER, name="9")]
            case _:
                self.run.append(words[words.index("database") + 1])
        return 0

    def admin_password(self, names: Names) -> str:
        return "the administrator's"

    def begun_with(self, owner: Owner, names: Names) -> str:
        return "empty"


def beside(programs: Programs) -> Place:
    return Place(REQUEST.owner, NAMES, programs, FakeDeployer())


def taken(number: int) -> list[Point]:
    """Return so many snapshots, the oldest first."""
    return [replace(POINT, name=str(name)) for name in range(number)]


EMPTIED = replace(LATER, name="2", migration="", tables=0, rows=0)


def test_of_a_database_without_mautic_no_snapshot_and_no_dump_is_made() -> None:
    programs = Programs(recorded=())
    place, (console, _) = beside(programs), a_console()
    with pytest.raises(RefusedError, match="holds no whole Mautic"):
        take(place, lambda: plan_snapshot(place, "by hand"), me=ME, console=console)
    with pytest.raises(RefusedError, match="holds no whole Mautic"):
        plan_dump(place, Path("x.zip"))
    assert programs.run == []


def test_a_snapshot_of_an_emptied_database_is_restored_by_nobody() -> None:
    place = beside(Programs([POINT, EMPTIED]))
    assert plan_restore(place, "").point == POINT
    assert "no Mautic" in rows([EMPTIED])[0]
    with pytest.raises(RefusedError, match=r"snapshot 2 of .* holds no whole Mautic"):
        plan_restore(place, "2")
    with pytest.raises(InputError, match="no snapshot that was taken of a whole") as caught:
        plan_restore(beside(Programs([EMPTIED])), "")
    assert caught.value.hint == "it has: 2; --name takes one of them"


def test_which_snapshot_a_new_one_drops_is_said_before_and_after() -> None:
    programs = Programs([replace(POINT, open=True), *taken(9)[1:]])
    place, (console, said) = beside(programs), a_console()
    assert [step.verb for step in plan_snapshot(place, "by hand").steps] == ["take"]
    programs.points = taken(9)
    plan = plan_snapshot(place, "by hand")
    assert [(step.verb, step.subject) for step in plan.steps] == [
        ("take", f"a snapshot of database {NAMES.database}"),
        ("drop", POINT.title),
    ]
    done = take(place, lambda: plan_snapshot(place, "by hand"), me=ME, console=console)
    assert done.name == "9"
    assert f"{POINT.title} was dropped, the oldest: at most 9 are kept" in said.getvalue()


def test_a_half_migrated_database_is_taken_with_a_warning() -> None:
    class Half(Programs):
        def pipe(self, owner: Owner, names: Names, words: Sequence[str], **more: Any) -> int:
            status = super().pipe(owner, names, words, **more)
            self.points = [replace(each, half=True) for each in self.points]
            return status

    place, (console, said) = beside(Half()), a_console()
    take(place, lambda: plan_snapshot(place, "by hand"), me=ME, console=console)
    assert "is half migrated: it cannot be restored" in said.getvalue()


def test_what_is_restored_is_never_what_is_dropped_for_it() -> None:
    programs = Programs(taken(9))
    place, (console, said) = beside(programs), a_console()
    plan = restore(place, lambda: plan_restore(place, "0"), me=ME, console=console)
    assert [each.name for each in plan.dropped] == ["1"]
    assert plan.steps[-1].verb == "drop"
    assert "snapshot 1 of" in said.getvalue()
    assert programs.run[0] == "restore"
