"""Going to sleep, waking, pins: the order of the steps, twice, interrupted, two at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.environment import State
from tasks.core.errors import HeldError, InputError, RefusedError, SuiteError
from tasks.core.names import Names, check_branch
from tasks.core.sleep import NO_REST, Pinned, Rest, Sleep
from tasks.core.sleep_hours import SleepRule
from tasks.core.summary import EnvironmentSummary
from tasks.flows import sleep as sleeping
from tasks.flows.gc import find_sleeps
from tasks.flows.sleep import Sleeping, find_due, refuse_protected, run_due
from tasks.flows.target import SleepPlan, owner_of
from tests.support.fakes import ME, NAMES, FakeDeployer, FakeInspector, FakeSleeper, a_console

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
SLEEP = Sleep(NOW.isoformat(), "ada@host", "by hand")
PINNED = Pinned(NOW.isoformat(), "ada@host")
LONG_AGO = (NOW - timedelta(days=3)).isoformat()


def place(sleeper: FakeSleeper) -> Sleeping:
    return Sleeping(owner_of(NAMES, "ours"), NAMES, sleeper)


def to_sleep(sleeper: FakeSleeper) -> bool:
    def plan() -> SleepPlan:
        return sleeping.plan_sleep(place(sleeper), SLEEP, NOW)

    return sleeping.put_to_sleep(place(sleeper), plan, me=ME, console=a_console()[0])


def wake(sleeper: FakeSleeper, deployer: FakeDeployer | None = None) -> bool:
    where = place(sleeper)

    def plan() -> SleepPlan:
        return sleeper.plan_wake(where.owner, where.names, NOW.isoformat())

    console, _ = a_console()
    return sleeping.wake(where, plan, deployer or FakeDeployer(), me=ME, console=console)


def test_all_is_stopped_under_the_lock_and_started_in_the_other_order() -> None:
    sleeper, deployer = FakeSleeper(), FakeDeployer()
    assert to_sleep(sleeper)
    assert sleeper.seen == [
        *("plan sleep", "lock", "plan sleep"),
        *("stop worker", "stop web", "stop database"),
        "unlock",
    ]
    assert sleeper.found == Rest(SLEEP)
    sleeper.seen.clear()
    assert wake(sleeper, deployer)
    assert sleeper.seen == [
        *("plan wake", "lock", "plan wake"),
        *("start database", "start web", "start worker"),
        "unlock",
    ]
    assert sleeper.found == Rest(used_at=NOW.isoformat())
    assert deployer.seen == ["get /s/login"]


def test_the_second_time_does_nothing_and_takes_no_lock() -> None:
    sleeper = FakeSleeper()
    to_sleep(sleeper)
    sleeper.seen.clear()
    assert not to_sleep(sleeper)
    wake(sleeper)
    assert not wake(sleeper)
    assert sleeper.seen.count("lock") == 1


@pytest.mark.parametrize("point", ["stop worker", "stop web", "stop database"])
@pytest.mark.parametrize("end", [KeyboardInterrupt(), SuiteError("no answer")])
def test_what_was_interrupted_is_finished_by_the_same_command_or_undone_by_the_other(
    point: str, end: BaseException
) -> None:
    for finish, up in ((to_sleep, 0), (wake, 3)):
        sleeper = FakeSleeper(fails={point: [end]})
        with pytest.raises(type(end)):
            to_sleep(sleeper)
        assert sleeper.found
        assert sleeper.found.asleep == SLEEP, "whoever finds it must know why"
        assert finish(sleeper)
        assert len(sleeper.up) == up


def test_of_two_at_once_the_second_finds_it_done() -> None:
    class Other(FakeSleeper):
        """Another run puts it to sleep while this one waits for the lock."""

        def note(self, what: str) -> None:
            super().note(what)
            if what == "lock":
                self.down, self.up = self.up, []

    sleeper = Other()
    assert not to_sleep(sleeper)
    assert not [line for line in sleeper.seen if line.startswith("stop")]


def test_a_held_lock_is_honoured() -> None:
    sleeper = FakeSleeper(fails={"lock": [HeldError("held by grace")]})
    with pytest.raises(HeldError) as caught:
        to_sleep(sleeper)
    assert caught.value.exit_code == 4
    assert sleeper.found == NO_REST


def test_what_must_not_sleep_is_refused() -> None:
    sleeper = FakeSleeper(found=Rest(pin=PINNED))
    with pytest.raises(RefusedError, match="pinned by ada@host") as caught:
        to_sleep(sleeper)
    assert caught.value.exit_code == 3
    assert caught.value.hint == f"inv pin --off {NAMES.options} ends that"
    with pytest.raises(RefusedError, match="prod is protected"):
        refuse_protected("prod", protected=True)
    refuse_protected("prod", protected=False)
    with pytest.raises(InputError, match="has no environment"):
        to_sleep(FakeSleeper(found=None))


def test_a_site_that_does_not_answer_is_not_awake() -> None:
    sleeper = FakeSleeper()
    to_sleep(sleeper)
    deployer = FakeDeployer(fails={"get /s/login": [SuiteError("refused")]})
    with pytest.raises(SuiteError, match="refused"):
        wake(sleeper, deployer)


def test_a_pin_is_stored_under_the_lock_and_taken_away() -> None:
    sleeper, (console, _) = FakeSleeper(), a_console()
    assert sleeping.pin(place(sleeper), PINNED, me=ME, console=console) == NO_REST
    assert sleeper.seen == ["lock", "pin", "unlock"]
    assert sleeping.pin(place(sleeper), None, me=ME, console=console) == Rest(pin=PINNED)
    assert sleeper.found == NO_REST


# -- by itself ------------------------------------------------------------------------------------

IDLE = SleepRule(idle_hours=24)
THERE = EnvironmentSummary(
    branch="feature/x",
    slug="feature-x",
    repository="ours",
    url="https://x",
    state=State.RUNNING,
    tag="1a2b3c4d",
    commit="c" * 40,
    owner="ada@host",
    created_at=LONG_AGO,
    deployed_at=LONG_AGO,
    expires_at="",
    rest=Rest(used_at=LONG_AGO),
)


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, True),
        ({"state": State.DEGRADED}, True),
        ({"state": State.ROLLED_BACK}, True),
        ({"state": State.ASLEEP}, False),
        ({"state": State.STOPPED}, False),
        ({"state": State.FAILED}, False),
        ({"state": State.DEPLOYING}, False),
        ({"state": State.CHANGING}, False),
        ({"state": State.INTERRUPTED}, False),
        ({"state": State.UNREADABLE}, False),
        ({"state": State.MISNAMED}, False),
        ({"repository": "theirs"}, False),
        ({"rest": Rest(pin=PINNED, used_at=LONG_AGO)}, False),
        ({"rest": Rest(pin=replace(PINNED, until=LONG_AGO), used_at=LONG_AGO)}, True),
        ({"rest": Rest(used_at=NOW.isoformat())}, False),
        ({"rest": NO_REST}, False),
    ],
)
def test_who_has_to_sleep(changes: dict[str, object], *, due: bool) -> None:
    item = replace(THERE, **changes)  # type: ignore[arg-type]
    found = find_due([item], IDLE, repository="ours", now=NOW)
    assert [each.reason for each in found] == (["unused for 24 h"] if due else [])


def names_of(branch: str) -> Names:
    check_branch(branch)
    return replace(NAMES, branch=branch)


def run(sleeper: FakeSleeper, *branches: str) -> str:
    found = [replace(THERE, branch=branch) for branch in branches]
    due = find_due(found, IDLE, repository="ours", now=NOW)
    console, said = a_console()
    run_due(due, sleeper, names_of, me=ME, console=console, now=NOW)
    return said.getvalue()


def test_what_is_due_is_put_to_sleep_with_the_reason() -> None:
    sleeper = FakeSleeper(found=Rest(used_at=LONG_AGO))
    assert "feature/x: asleep (unused for 24 h)" in run(sleeper, "feature/x")
    assert sleeper.found
    assert sleeper.found.asleep == Sleep(NOW.isoformat(), ME.owner, "unused for 24 h")


def used_meanwhile(sleeper: FakeSleeper) -> None:
    sleeper.found = Rest(used_at=NOW.isoformat())


def pinned_meanwhile(sleeper: FakeSleeper) -> None:
    sleeper.found = Rest(pin=PINNED, used_at=LONG_AGO)


@pytest.mark.parametrize("happens", [used_meanwhile, pinned_meanwhile])
def test_who_is_used_or_pinned_meanwhile_is_left_awake(
    happens: Callable[[FakeSleeper], None],
) -> None:
    class Waiting(FakeSleeper):
        def note(self, what: str) -> None:
            super().note(what)
            if what == "lock":
                happens(self)

    sleeper = Waiting(found=Rest(used_at=LONG_AGO))
    said = run(sleeper, "feature/x")
    assert "feature/x in local" in said
    assert sleeper.up == ["worker", "web", "database"]


def test_one_that_fails_does_not_keep_the_others() -> None:
    fails: dict[str, list[BaseException]] = {"stop web": [SuiteError("stuck")]}
    sleeper = FakeSleeper(found=Rest(used_at=LONG_AGO), fails=fails, parallel_sleeps=1)
    with pytest.raises(SuiteError, match="1 of 2 environments could not be put to sleep: a"):
        run(sleeper, "a", "b")
    assert sleeper.up == []


def test_one_that_is_held_is_left_awake() -> None:
    sleeper = FakeSleeper(
        found=Rest(used_at=LONG_AGO), fails={"lock": [HeldError("held by grace")]}
    )
    assert "held by grace" in run(sleeper, "a")


def test_a_sweep_may_only_put_to_sleep() -> None:
    old = replace(THERE, branch="old", expires_at=LONG_AGO)
    sweep = find_sleeps("dev", FakeInspector([THERE, old]), "ours", IDLE, NOW)
    assert [step.verb for step in sweep.steps] == ["sleep", "sleep"]
    assert sweep.as_dict()["sleep"][0]["reason"] == "unused for 24 h"
    assert sweep.sleep_rows(NOW)[0] == ("feature/x", "3d", "ada@host", "unused for 24 h")
