"""What a deploy to this machine does in which order, and what is remembered after each failure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from tasks.core.compose.record import RECORD, ComposeRecord, owner_labels
from tasks.core.environment import Failure, State
from tasks.core.environment_data import Data
from tasks.core.errors import CommandError, InputError, SuiteError
from tasks.flows.compose.plan import ComposePlan
from tasks.flows.compose.target import compose_target
from tasks.flows.target import Request, Target
from tests.support.fake_engine import SERVICES, FakeCompose, FakeEngine, a_context
from tests.support.fakes import NAMES, REQUEST

FIRST, SECOND = (replace(REQUEST, tag=tag, commit=tag * 20) for tag in ("a1", "b2"))
BROKEN = CommandError("it broke")


@dataclass
class Bench:
    """A target on a played engine."""

    engine: FakeEngine
    compose: FakeCompose
    target: Target[ComposePlan]
    titles: list[str]

    def deploy(self, request: Request) -> ComposePlan:
        plan = self.target.deployer.plan_deploy(request)
        if plan.steps:
            self.apply(plan)
        self.target.deployer.finish(plan)
        return plan

    def apply(self, plan: ComposePlan) -> None:
        self.target.deployer.begin(plan)
        self.target.deployer.apply(plan)

    def fail(self, *fails: str) -> ComposePlan:
        """Deploy the second release, of which something fails; return its plan."""
        self.compose.fails = dict.fromkeys(fails, BROKEN)
        plan = self.target.deployer.plan_deploy(SECOND)
        with pytest.raises(SuiteError):
            self.apply(plan)
        return plan

    @property
    def record(self) -> ComposeRecord:
        (volume,) = self.engine.volumes(RECORD)
        return ComposeRecord.from_labels(volume.labels)

    @property
    def shown(self) -> State:
        (found,) = self.target.inspector.list()
        return found.state

    @property
    def images(self) -> set[str]:
        return {item.image for item in self.engine.there.values() if item.service != "database"}


@pytest.fixture
def bench() -> Bench:
    """Nothing is deployed yet."""
    engine = FakeEngine()
    compose = FakeCompose(engine)
    context, titles = a_context(engine, compose)
    return Bench(engine, compose, compose_target(context), titles)


@pytest.fixture
def deployed(bench: Bench) -> Bench:
    """The first release is deployed."""
    bench.deploy(FIRST)
    bench.compose.seen.clear()
    return bench


def test_where_the_images_are_is_recorded_before_any_of_them_runs(bench: Bench) -> None:
    plan = bench.target.deployer.plan_deploy(FIRST)
    image = "localhost:5051/m/mautic@sha256:1"
    bench.target.deployer.begin(replace(plan, release=replace(plan.release, mautic=image)))
    assert bench.record.registry == "localhost:5051/m"


def test_a_first_deploy_migrates_before_anything_else_runs(bench: Bench) -> None:
    plan = bench.target.deployer.plan_deploy(FIRST)
    assert plan.is_first
    bench.apply(plan)
    assert bench.record.state is State.DEPLOYING
    assert bench.shown is State.INTERRUPTED
    credentials = bench.target.deployer.finish(plan)
    assert bench.compose.seen == [
        "run secrets",
        "up database",
        "run migrate",
        "up cron fpm web worker",
    ]
    assert credentials
    assert credentials.password == bench.engine.secrets["admin_password"]
    assert bench.record.current == plan.release
    assert bench.shown is State.RUNNING


def test_a_second_deploy_of_the_same_changes_nothing(deployed: Bench) -> None:
    plan = deployed.deploy(FIRST)
    assert plan.steps == ()
    assert deployed.compose.seen == []


def test_a_pipe_is_spared_what_compose_says_of_each_container(deployed: Bench) -> None:
    deployed.deploy(SECOND)
    assert "start services" in deployed.titles
    assert [each for each in deployed.titles if "Container" in each] == []


def test_an_environment_from_before_the_door_gets_its_password(deployed: Bench) -> None:
    del deployed.engine.secrets["door_password"]
    plan = deployed.deploy(FIRST)
    assert [step.subject for step in plan.steps if step.verb == "create"] == ["secrets"]
    assert deployed.compose.seen == ["run secrets"]


def test_an_update_stops_what_works_on_the_database_while_it_is_migrated(deployed: Bench) -> None:
    deployed.deploy(SECOND)
    assert deployed.compose.seen == ["stop cron worker", "run migrate", "up cron fpm web worker"]
    assert [each.tag for each in deployed.record.history] == ["a1", "b2"]


@pytest.mark.parametrize("broken", ["run migrate", "up cron"])
def test_after_the_way_back_the_release_before_runs_and_the_deploy_is_told(
    deployed: Bench, broken: str
) -> None:
    plan = deployed.fail(broken)
    deployed.compose.fails = {}
    failure = Failure("b2", "2026-01-01T00:00:00+00:00", "it broke")
    assert deployed.target.deployer.roll_back(plan, failure=failure) == "a1"
    assert deployed.images == {"m@sha256:a1", "n@sha256:a1"}
    assert deployed.record.state is State.ROLLED_BACK
    assert deployed.shown is State.ROLLED_BACK
    assert deployed.record.failure == failure
    assert [each.tag for each in deployed.record.failures] == ["b2"]
    deployed.deploy(SECOND)
    assert deployed.record.failure is None
    assert deployed.shown is State.RUNNING
    assert [each.tag for each in deployed.record.failures] == ["b2"]


def test_a_way_back_that_fails_leaves_a_failed_environment(deployed: Bench) -> None:
    plan = deployed.fail("up cron")
    with pytest.raises(SuiteError):
        deployed.target.deployer.roll_back(plan)
    assert deployed.record.state is State.FAILED
    assert deployed.shown is State.FAILED


def test_where_nothing_was_before_a_failure_is_remembered(bench: Bench) -> None:
    plan = bench.fail("run migrate")
    assert bench.target.deployer.roll_back(plan) is None
    assert bench.record.state is State.FAILED
    assert bench.shown is State.FAILED


def test_the_data_that_was_chosen_is_remembered_where_images_cannot_be_had(bench: Bench) -> None:
    request = replace(FIRST, data="seed", resolve=lambda _: Data("seed:1", "from seed 1"))
    plan = bench.target.deployer.plan_deploy(request)
    bench.engine.lacks = BROKEN
    with pytest.raises(SuiteError):
        bench.apply(plan)
    bench.target.deployer.roll_back(plan)
    assert (bench.record.state, bench.record.data) == (State.FAILED, "seed:1")


def test_data_that_is_nowhere_is_refused_also_where_there_is_other(deployed: Bench) -> None:
    def check(choice: str) -> None:
        raise InputError(f"{choice} is nowhere")

    request = replace(SECOND, data="branch:nope", check_data=check)
    with pytest.raises(InputError, match="branch:nope is nowhere"):
        deployed.target.deployer.plan_deploy(request)


def test_without_a_record_there_is_nothing_to_go_back_to(bench: Bench) -> None:
    plan = bench.target.deployer.plan_deploy(FIRST)
    assert bench.target.deployer.roll_back(plan) is None
    assert bench.engine.kept == {}


def test_what_an_interrupted_run_left_is_waited_for_and_removed(deployed: Bench) -> None:
    deployed.engine.run("migrate", "m@sha256:a1", one_off=True)
    deployed.deploy(SECOND)
    assert set(deployed.engine.there) == {f"{NAMES.namespace}-{name}-1" for name in SERVICES}


def test_a_database_whose_secrets_are_gone_is_not_started_over(deployed: Bench) -> None:
    deployed.engine.remove_volume(f"{NAMES.namespace}_secrets")
    with pytest.raises(SuiteError, match="the secrets of feature/x are gone") as caught:
        deployed.target.deployer.plan_deploy(SECOND)
    assert caught.value.hint == "start over: inv cleanup --env local --branch feature/x"


def test_what_is_somebody_elses_is_refused(deployed: Bench) -> None:
    other = replace(FIRST, repository="https://elsewhere/x.git")
    with pytest.raises(SuiteError, match="is not feature/x's: its repository is"):
        deployed.target.deployer.plan_deploy(other)
    deployed.engine.create_volume(f"{NAMES.namespace}_stray", {})
    with pytest.raises(SuiteError, match="it has no environment"):
        deployed.target.remover.plan_removal(FIRST.owner, NAMES)


def test_the_record_is_the_last_to_be_removed(deployed: Bench) -> None:
    plan = deployed.target.remover.plan_removal(FIRST.owner, NAMES)
    assert plan.steps[-1].subject == f"record of {NAMES.namespace}"
    kinds = [step.subject.partition(" ")[0] for step in plan.steps]
    assert kinds == [*["container"] * 5, *["image"] * 2, "volume", "record"]
    for _, removal in plan.todo:
        removal(print)
    assert (deployed.engine.there, deployed.engine.kept) == ({}, {})
    assert deployed.target.inspector.list() == []


@pytest.mark.parametrize("removed", range(1, 10))
def test_a_clean_up_that_was_interrupted_is_shown_and_a_deploy_makes_all_anew(
    deployed: Bench, removed: int
) -> None:
    deployed.engine.create_volume(f"{NAMES.namespace}_database", owner_labels(FIRST.owner))
    plan = deployed.target.remover.plan_removal(FIRST.owner, NAMES)
    assert len(plan.todo) == 10
    for _, removal in plan.todo[:removed]:
        removal(print)
    assert deployed.shown is State.INTERRUPTED
    volumes = [name.rpartition("_")[2] for name in deployed.engine.kept]
    # A database without its secrets cannot be used.
    assert "secrets" in volumes or "database" not in volumes
    again = deployed.deploy(SECOND)
    assert again.record is None
    assert again.migrate
    assert deployed.shown is State.RUNNING
    assert [release.tag for release in deployed.record.history] == ["b2"]


def test_a_service_whose_container_is_gone_is_told(deployed: Bench) -> None:
    (web,) = (item for item in deployed.engine.there.values() if item.service == "web")
    deployed.engine.remove_container(web.id)
    assert deployed.shown is State.DEGRADED
    parts = deployed.target.inspector.status(FIRST.owner, NAMES)
    assert [part.service for part in parts] == sorted(SERVICES)
    assert [part.service for part in parts if part.state == "missing"] == ["web"]
