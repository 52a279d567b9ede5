"""What is stopped of an environment on this machine, in which order, and what is remembered."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.docker.engine import Container
from tasks.adapters.files.lock import FileLock
from tasks.adapters.terminal.console import Activity
from tasks.core.compose.stages import PROJECT, SERVICE
from tasks.core.environment import State
from tasks.core.errors import CommandError, EngineError, SuiteError
from tasks.core.plan import Step
from tasks.core.sleep import Pinned, Sleep, Wake
from tasks.flows.compose.own_image import PROXY
from tasks.flows.compose.platform import LocalPlatform
from tasks.flows.compose.target import compose_target
from tasks.flows.target import SleepPlan
from tests.support.fake_engine import Deployed, FakeCompose, FakeEngine, a_context
from tests.support.fakes import NAMES, REQUEST
from tests.support.suite import ROOT

SLEEP = Sleep("2026-01-01T00:00:00+00:00", "ada@host", "by hand")
PINNED = Pinned("2026-01-01T00:00:00+00:00", "ada@host")
STOPS = ["stop cron worker", "stop web", "stop fpm", "stop database"]
STARTS = ["start database", "start fpm", "start web", "start cron worker"]
OWNER = REQUEST.owner
QUIET = Activity(lambda _: None, lambda _: None)


class Bench(Deployed):
    """A branch that is put to sleep and woken."""

    def run(self, plan: SleepPlan) -> None:
        for _, action in plan.todo:
            action(QUIET)

    def sleep(self) -> SleepPlan:
        plan = self.target.sleeper.plan_sleep(OWNER, NAMES, SLEEP)
        self.run(plan)
        return plan

    def wake(self) -> SleepPlan:
        plan = self.target.sleeper.plan_wake(OWNER, NAMES, "")
        self.run(plan)
        return plan

    def share(self, status: str = "Up (healthy)") -> None:
        """Let the platform run, or not."""
        own = self.platform.settings.platform
        for service, image, port in (
            ("proxy", PROXY.reference(ROOT), own.http_port),
            ("mail", own.mail_image, own.mail_port),
        ):
            labels = {PROJECT: self.platform.name, SERVICE: service}
            state = "running" if status.startswith("Up") else "exited"
            ports = ((own.address, port),)
            self.engine.there[service] = Container(
                service, service, image, state, status, labels, ports
            )

    @property
    def shown(self) -> State:
        (found,) = self.target.inspector.list()
        return found.state


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    def ensure(_: Any) -> None:
        made.compose.seen.append("platform")

    monkeypatch.setattr("tasks.adapters.files.lock.lock_folder", lambda _: tmp_path / "locks")
    made = Bench()
    made.share()
    monkeypatch.setattr(LocalPlatform, "ensure", ensure)
    return made


def test_what_cannot_be_started_any_more_is_told_at_once(bench: Bench) -> None:
    bench.sleep()
    (gone,) = [item for item in bench.engine.there.values() if item.service == "fpm"]
    bench.engine.remove_container(gone.id)
    bench.compose.seen.clear()
    with pytest.raises(EngineError, match="no container of fpm any more") as caught:
        bench.wake()
    assert caught.value.hint == "make what is missing: inv deploy --env local --branch feature/x"
    assert bench.compose.seen == []


def test_it_is_stopped_in_order_and_started_in_the_other_one(bench: Bench) -> None:
    plan = bench.sleep()
    assert bench.compose.seen == STOPS
    assert [step.verb for step in plan.steps] == ["mark", "stop", "stop", "stop", "stop"]
    assert (bench.shown, bench.record.asleep) == (State.ASLEEP, SLEEP)
    bench.compose.seen.clear()
    bench.wake()
    assert bench.compose.seen == STARTS
    assert (bench.shown, bench.record.asleep) == (State.RUNNING, None)


def test_the_platform_is_started_where_it_does_not_run_alone(bench: Bench) -> None:
    bench.sleep()
    bench.share("Exited (137)")
    bench.compose.seen.clear()
    assert bench.wake().steps[0] == Step("start", "the local platform")
    assert bench.compose.seen == ["platform", *STARTS]
    # Nobody reaches what is awake either.
    bench.compose.seen.clear()
    assert bench.wake().steps == (Step("start", "the local platform"),)
    assert bench.compose.seen == ["platform"]


def test_the_second_time_does_nothing(bench: Bench) -> None:
    assert bench.wake().steps == ()
    bench.sleep()
    assert bench.sleep().steps == ()


@pytest.mark.parametrize("failing", ["stop cron", "stop fpm", "stop database"])
def test_what_was_interrupted_is_finished_or_undone(bench: Bench, failing: str) -> None:
    bench.compose.fails = {failing: CommandError("it broke")}
    with pytest.raises(SuiteError):
        bench.sleep()
    assert bench.record.asleep == SLEEP
    bench.compose.fails = {}
    bench.compose.seen.clear()
    bench.sleep()
    assert bench.compose.seen == STOPS[[line.startswith(failing) for line in STOPS].index(True) :]
    assert bench.shown is State.ASLEEP
    bench.wake()
    assert bench.shown is State.RUNNING


def test_what_somebody_stopped_is_not_asleep_and_not_woken(bench: Bench) -> None:
    for name, item in bench.engine.there.items():
        bench.engine.there[name] = replace(item, state="exited")
    assert bench.shown is State.STOPPED
    assert bench.sleep().steps == bench.wake().steps == ()


def test_a_deploy_wakes_and_keeps_the_pin(bench: Bench) -> None:
    bench.target.sleeper.pin(OWNER, NAMES, PINNED)
    bench.sleep()
    bench.deploy()
    assert (bench.shown, bench.record.asleep, bench.record.pin) == (State.RUNNING, None, PINNED)
    (found,) = bench.target.inspector.list()
    assert found.rest.pin == PINNED
    bench.target.sleeper.pin(OWNER, NAMES, None)
    assert bench.record.pin is None


def test_a_deploy_says_that_it_wakes(bench: Bench) -> None:
    bench.sleep()
    steps = bench.target.deployer.plan_deploy(REQUEST).steps
    woken = Step("wake", f"environment {NAMES.branch}", str(SLEEP))
    assert steps[0] == woken
    bench.deploy()
    assert bench.target.deployer.plan_deploy(REQUEST).steps == ()


def test_a_deploy_that_fails_leaves_nothing_asleep(bench: Bench) -> None:
    bench.sleep()
    plan = bench.target.deployer.plan_deploy(REQUEST)
    bench.compose.fails = {"up database": CommandError("it broke")}
    with pytest.raises(SuiteError):
        bench.target.deployer.apply(plan)
    assert bench.record.asleep is None


def test_the_last_use_is_the_newest_of_deploy_and_command(bench: Bench) -> None:
    def used() -> datetime | None:
        rest = bench.target.sleeper.rest(OWNER, NAMES)
        return rest.last_use if rest else None

    current = bench.record.current
    assert current
    deployed_at = datetime.fromisoformat(current.deployed_at)
    assert used() == deployed_at
    bench.target.sleeper.note_use(OWNER, NAMES, "")
    noted = FileLock(NAMES.namespace).used_at()
    assert abs(datetime.fromisoformat(noted) - deployed_at) < timedelta(minutes=5)
    assert used() == max(deployed_at, datetime.fromisoformat(noted))


def test_what_a_visitor_has_woken_is_awake_until_it_sleeps_again(bench: Bench) -> None:
    bench.sleep()
    lock = FileLock(NAMES.namespace)
    lock.note_wake(Wake.BEGUN)
    assert bench.shown is State.ASLEEP
    # Its waker starts the containers, and does not write to the record.
    for name, item in bench.engine.there.items():
        bench.engine.there[name] = replace(item, state="running")
    lock.note_wake(Wake.DONE)
    rest = bench.target.sleeper.rest(OWNER, NAMES)
    assert rest
    assert (bench.shown, rest.asleep, bench.record.asleep) == (State.RUNNING, None, SLEEP)
    assert bench.wake().steps == ()
    bench.sleep()
    assert (bench.shown, lock.wake()) == (State.ASLEEP, Wake.NOT)
    bench.wake()
    assert (bench.shown, bench.record.asleep) == (State.RUNNING, None)


def test_what_was_never_deployed_knows_no_sleep() -> None:
    engine = FakeEngine()
    context, _ = a_context(engine, FakeCompose(engine))
    assert compose_target(context).sleeper.rest(OWNER, NAMES) is None
