"""What is played behaves as the real thing: the same contract holds for both."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.core.environment import State
from tasks.core.plan import Step
from tasks.flows.compose.target import compose_target
from tasks.flows.target import Deployer, Remover
from tests.support.fake_engine import FakeCompose, FakeEngine, a_context
from tests.support.fakes import NAMES, REQUEST, FakeDeployer, FakeRemover
from tests.support.fakes_images import FakeRegistry, image_digest
from tests.support.registry_contract import (
    check_attachments,
    check_images,
    check_layers,
    check_registry,
)


def test_the_registry() -> None:
    """The same is asked of real ones in tests/integration/adapters/registry."""
    registries = [FakeRegistry(), FakeRegistry(), FakeRegistry()]

    def push(content: str, /, *tags: str) -> str:
        digest = image_digest(content)
        for registry in registries:
            for tag in tags:
                registry.push("mautic", tag, digest)
        return digest

    for check, registry in zip(
        (check_registry, check_attachments, check_images), registries, strict=True
    ):
        for each in registries:
            each.images.clear()
        check(registry, push)
    check_layers(FakeRegistry())


@pytest.fixture(params=["played", "Compose"])
def deployer(request: pytest.FixtureRequest) -> Deployer[Any]:
    """A target without any environment."""
    if request.param == "played":
        return FakeDeployer()
    engine = FakeEngine()
    return compose_target(a_context(engine, FakeCompose(engine))[0]).deployer


def test_a_deployer_remembers_what_was_finished(deployer: Deployer[Any]) -> None:
    for _ in range(2):  # a plan alone changes nothing
        plan = deployer.plan_deploy(REQUEST)
        assert plan.is_first
        assert plan.steps
    deployer.begin(plan)
    deployer.apply(plan)
    assert deployer.plan_deploy(REQUEST).is_first
    assert deployer.finish(plan)
    second = deployer.plan_deploy(REQUEST)
    assert (second.is_first, second.steps) == (False, ())
    assert second.record.state is State.READY
    assert second.record.current == plan.release
    assert deployer.finish(second) is None


def test_a_deployer_has_nothing_to_go_back_to_after_a_first_deploy(
    deployer: Deployer[Any],
) -> None:
    plan = deployer.plan_deploy(REQUEST)
    deployer.begin(plan)
    deployer.apply(plan)
    assert deployer.roll_back(plan) is None


@pytest.fixture(params=["played", "Compose"])
def remover(request: pytest.FixtureRequest) -> Remover:
    """A target with one environment."""
    if request.param == "played":
        steps = [Step("remove", f"container {name}") for name in ("web", "database", "cron")]
        return FakeRemover(left=steps)
    engine = FakeEngine()
    target = compose_target(a_context(engine, FakeCompose(engine))[0])
    plan = target.deployer.plan_deploy(REQUEST)
    target.deployer.begin(plan)
    target.deployer.apply(plan)
    target.deployer.finish(plan)
    return target.remover


def test_a_removal_goes_on_where_it_was_cut_off(remover: Remover) -> None:
    first, again = (remover.plan_removal(REQUEST.owner, NAMES) for _ in range(2))
    assert len(first.steps) > 2
    assert first.steps == again.steps
    for _, removal in first.todo[:2]:
        removal(pytest.fail)
    rest = remover.plan_removal(REQUEST.owner, NAMES)
    assert rest.steps == first.steps[2:]
    for _, removal in rest.todo:
        removal(pytest.fail)
    assert remover.plan_removal(REQUEST.owner, NAMES).steps == ()
