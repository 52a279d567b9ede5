"""The snapshot of production's server before a migration: taken, waited for, found again, kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks.core.environment import Release, State
from tasks.core.errors import AwsError, DeadlineError, RefusedError, RegistryError, SuiteError
from tasks.core.server_snapshots import AVAILABLE, CREATING, ServerSnapshot, SnapshotOrder
from tasks.flows import server_snapshots
from tasks.flows.deploy import run_deploy
from tasks.flows.points import plan_rollback
from tasks.flows.server_snapshots import ServerSnapshots
from tests.support.clock import PlayedClock
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

SERVER = "mautic-prod"
NEWER = replace(RELEASE, tag="newer", mautic="r/mautic@sha256:2", migration="")
DENIED = AwsError("ci may not rds:CreateDBSnapshot", code="AccessDenied")


@dataclass
class FakeServer:
    """A server whose snapshots are whole after as many looks as they need."""

    server: str = SERVER
    needs: int = 1
    busy: int = 0
    fails: Exception | None = None
    there: list[ServerSnapshot] = field(default_factory=list)
    looks: int = 0
    removed: list[str] = field(default_factory=list)

    def list(self) -> Sequence[ServerSnapshot]:
        self.looks += 1
        self.there = [self._later(each) for each in self.there]
        return [*self.there]

    def _later(self, each: ServerSnapshot) -> ServerSnapshot:
        if each.status != CREATING:
            return each
        percent = min(100, each.percent + 100 // self.needs)
        status = AVAILABLE if percent == 100 else CREATING
        taken_at = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(each, percent=percent, status=status, taken_at=taken_at)

    def state(self) -> str:
        return "backing-up"

    def take(self, name: str, tags: Mapping[str, str]) -> bool:
        if self.fails:
            raise self.fails
        if self.busy:
            self.busy -= 1
            return False
        self.there.append(ServerSnapshot(name, SERVER, "", CREATING, 0, tags))
        return True

    def remove(self, name: str) -> None:
        self.removed.append(name)
        self.there = [each for each in self.there if each.name != name]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PlayedClock:
    played = PlayedClock()
    monkeypatch.setattr(server_snapshots, "CLOCK", played.clock)
    return played


def keeper(server: FakeServer, *, keep: int = 2, same: bool = False) -> ServerSnapshots:
    """Return what takes snapshots; the code differs by image unless it is the same."""

    def labels(image: str) -> Mapping[str, str]:
        return {"io.mautic-multidev.code": "content-1" if same else image}

    return ServerSnapshots(server, labels, "mautic", keep, 60)


def ordered(snapshots: ServerSnapshots, release: Release = NEWER) -> SnapshotOrder | None:
    return replace(REQUEST, server=snapshots).snapshot(a_record(State.READY, RELEASE), release)


def secured(server: FakeServer, **options: int) -> tuple[SnapshotOrder, str]:
    """Take the snapshot that a deploy needs; return it, and what was said."""
    order, (console, said) = ordered(keeper(server, **options)), a_console()
    assert order
    keeper(server, **options).secure(NAMES, order, console)
    return order, said.getvalue()


def test_it_is_named_before_it_is_taken_and_bears_what_it_is_for(clock: PlayedClock) -> None:
    server = FakeServer()
    order, _ = secured(server)
    assert order.reason == f"before the code of newer: {order.name}"
    (found,) = server.there
    assert (found.name, found.status) == (order.name, AVAILABLE)
    assert {key.removeprefix("mautic-multidev/"): value for key, value in found.tags.items()} == {
        **{"project": "mautic", "environment": "local", "branch": "feature/x"},
        **{"slug": NAMES.slug, "release": "newer", "image": "sha256:2"},
        **{"migration": "Version1", "why": "before newer"},
    }


def test_how_far_it_is_is_told_once_for_each_step(clock: PlayedClock) -> None:
    _, said = secured(FakeServer(needs=4))
    told = [line.strip() for line in said.splitlines() if "%" in line]
    assert told == ["creating, 25 %", "creating, 50 %", "creating, 75 %"]


@pytest.mark.parametrize("what", ["same code", "off", "same image", "first", "rollback"])
def test_without_anything_to_migrate_none_is_taken(what: str) -> None:
    snapshots = keeper(FakeServer(), keep=0 if what == "off" else 2, same=what == "same code")
    request = replace(REQUEST, server=snapshots, rollback=what == "rollback")
    record = None if what == "first" else a_record(State.READY, RELEASE)
    release = replace(NEWER, migration="Version1" if what == "rollback" else "")
    if what == "same image":
        release = replace(release, mautic=RELEASE.mautic)
    assert request.snapshot(record, release) is None


def test_a_label_that_is_missing_or_cannot_be_read_takes_one() -> None:
    bare = replace(keeper(FakeServer()), labels=lambda _: {})
    assert ordered(bare)

    def broken(_: str) -> Mapping[str, str]:
        raise RegistryError("there is no image sha256:1")

    order = ordered(replace(bare, labels=broken))
    assert order
    assert "is not known (there is no image sha256:1)" in order.reason


def test_what_was_cut_off_is_waited_for_again_and_no_other_is_taken(clock: PlayedClock) -> None:
    server = FakeServer(needs=20)
    order = ordered(keeper(server))
    assert order
    server.take(order.name, order.tags)  # and the run is killed
    again, _ = secured(server)
    assert (again.name, again.there) == (order.name, True)
    assert "was taken for newer already" in again.reason
    once_more, _ = secured(server)
    assert once_more.name == order.name
    assert len(server.there) == 1


def test_a_wait_has_an_end_and_says_how_it_goes_on(clock: PlayedClock) -> None:
    server = FakeServer(needs=10_000)
    with pytest.raises(DeadlineError, match=r"not whole after 60 minutes \(creating, 0 %\)") as e:
        secured(server)
    assert clock.passed == pytest.approx(3600)
    assert "deploy again, and it is waited for" in str(e.value.hint)


def test_a_busy_server_is_waited_for_and_named_in_the_end(clock: PlayedClock) -> None:
    _, said = secured(FakeServer(busy=3))
    assert "mautic-prod is backing-up" in said
    with pytest.raises(DeadlineError, match="could be begun in 60 minutes: it is backing-up"):
        secured(FakeServer(busy=10_000))


@pytest.mark.parametrize("status", ["failed", "deleting", ""])
def test_what_comes_to_nothing_ends_the_wait(status: str, clock: PlayedClock) -> None:
    class Broken(FakeServer):
        def list(self) -> Sequence[ServerSnapshot]:
            found = super().list()
            if self.looks < 3:
                return found
            return [replace(each, status=status) for each in found if status]

    with pytest.raises(SuiteError, match=f"is {status or 'gone'}"):
        secured(Broken(needs=100))


def test_only_the_oldest_that_deploys_took_are_removed(clock: PlayedClock) -> None:
    server = FakeServer()
    console, _ = a_console()
    keeper(server).take(NAMES, "by hand", console)
    server.there.append(ServerSnapshot("mautic-prod-final", SERVER, "2020", AVAILABLE, 100, {}))
    names = []
    for number in range(4):
        release = replace(NEWER, tag=f"t{number}", mautic=f"r/mautic@sha256:{number}0")
        order = ordered(keeper(server), release)
        assert order
        keeper(server).secure(NAMES, order, console)
        names.append(order.name)
    assert server.removed == names[:2]


# -- in a deploy ----------------------------------------------------------------------------------


def deployed(server: FakeServer, root: Path) -> FakeDeployer:
    snapshots = keeper(server)
    plan = replace(PLAN, release=NEWER, record=a_record(State.READY, RELEASE))
    plan = replace(plan, snapshot=ordered(snapshots))
    deployer = FakeDeployer(plan=plan)
    run_deploy(
        *(deployer, replace(REQUEST, server=snapshots)),
        me=ME,
        console=a_console()[0],
        root=root,
        beginning=None,  # type: ignore[arg-type] # nothing is brought
    )
    return deployer


def test_it_is_whole_before_anything_is_changed(tmp_path: Path, clock: PlayedClock) -> None:
    server = FakeServer(needs=3)
    deployer = deployed(server, tmp_path)
    assert server.there[0].status == AVAILABLE
    assert "apply" in deployer.seen


def test_a_deploy_without_its_snapshot_does_not_begin(tmp_path: Path, clock: PlayedClock) -> None:
    server = FakeServer(fails=DENIED)
    with pytest.raises(SuiteError, match="feature/x was not deployed: ci may not rds:Create"):
        deployed(server, tmp_path)
    assert not (tmp_path / "artifacts").exists()  # nor was anything rolled back


def test_going_back_names_the_snapshot_from_before(clock: PlayedClock) -> None:
    server = FakeServer()
    order, _ = secured(server)
    earlier = replace(RELEASE, tag="old", mautic="m@sha256:0")
    plan = replace(PLAN, release=earlier, record=a_record(State.READY, earlier, NEWER))
    deployer = FakeDeployer(plan=plan, recorded=("Version1", "Version2"))
    request = replace(REQUEST, tag="", rollback=True, server=keeper(server))
    with pytest.raises(RefusedError, match="Version2") as caught:
        plan_rollback(deployer, request, pytest.fail)
    assert f"RDS snapshot {order.name} of" in str(caught.value.hint)
    assert "restore it into a new instance" in str(caught.value.hint)
