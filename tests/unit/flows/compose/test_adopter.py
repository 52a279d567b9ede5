"""An environment of this machine that another repository adopts; labels never change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.adapters.docker.engine import DockerObject
from tasks.core.compose.record import RECORD, ComposeRecord, owner_labels
from tasks.core.compose.stages import PROJECT
from tasks.core.environment import State
from tasks.core.errors import RefusedError
from tasks.flows.compose.adopter import ComposeAdopter
from tasks.flows.compose.inventory import write_record
from tasks.flows.compose.plan import ComposePlan
from tasks.flows.compose.target import compose_target
from tasks.flows.target import Target, owner_of
from tests.support.fake_engine import FakeCompose, FakeEngine, a_context
from tests.support.fakes import NAMES, REQUEST

FORMER = REQUEST.repository
NEW = "https://example.org/new/b"
NEWER = "https://example.org/newer/b"
OURS = replace(REQUEST, repository=NEW)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def target(engine: FakeEngine) -> Target[ComposePlan]:
    """A target on which the former repository has deployed."""
    context, _ = a_context(engine, FakeCompose(engine))
    found = compose_target(context)
    plan = found.deployer.plan_deploy(REQUEST)
    found.deployer.begin(plan)
    found.deployer.apply(plan)
    found.deployer.finish(plan)
    return found


def give(engine: FakeEngine, repository: str, former: str) -> None:
    context, _ = a_context(engine, FakeCompose(engine))
    ComposeAdopter(context).adopt(owner_of(NAMES, repository), NAMES, former)


def test_only_who_has_adopted_it_may_touch_it_from_then_on(
    engine: FakeEngine, target: Target[ComposePlan]
) -> None:
    with pytest.raises(RefusedError, match="its repository is"):
        target.deployer.plan_deploy(OURS)
    give(engine, NEW, FORMER)
    with pytest.raises(RefusedError, match=f"its repository is '{NEW}'"):
        target.deployer.plan_deploy(REQUEST)
    assert [item.repository for item in target.inspector.list()] == [NEW]
    # Nothing runs otherwise than before, and nothing is made anew.
    there = dict(engine.there)
    plan = target.deployer.plan_deploy(OURS)
    assert plan.steps == ()
    target.deployer.finish(plan)
    assert engine.there == there
    # It is removed from the new repository alone, with everything that the former one made.
    removal = target.remover.plan_removal(OURS.owner, NAMES)
    for _, remove in removal.todo:
        remove(print)
    assert (engine.there, engine.kept) == ({}, {})


def test_it_can_be_adopted_again_and_back(engine: FakeEngine, target: Target[ComposePlan]) -> None:
    give(engine, NEW, FORMER)
    give(engine, NEWER, NEW)
    with pytest.raises(RefusedError):
        target.deployer.plan_deploy(OURS)
    target.deployer.plan_deploy(replace(REQUEST, repository=NEWER))
    give(engine, FORMER, NEWER)
    assert target.deployer.plan_deploy(REQUEST).steps == ()


def test_what_was_never_the_former_one_s_is_not_adopted(
    engine: FakeEngine, target: Target[ComposePlan]
) -> None:
    with pytest.raises(RefusedError):
        give(engine, NEW, "https://example.org/other/b")
    labels = {**owner_labels(owner_of(NAMES, NEWER)), PROJECT: NAMES.namespace}
    engine.kept["theirs"] = DockerObject("theirs", labels)
    with pytest.raises(RefusedError, match="volume theirs"):
        give(engine, NEW, FORMER)
    assert [item.repository for item in target.inspector.list()] == [FORMER]


def test_what_an_interrupted_deploy_left_can_be_adopted(engine: FakeEngine) -> None:
    context, _ = a_context(engine, FakeCompose(engine))
    engine.run("database", "d@sha256:1")
    give(engine, NEW, FORMER)
    (found,) = compose_target(context).inspector.list()
    assert (found.repository, found.state) == (NEW, State.FAILED)


def test_a_record_of_before_there_were_adoptions_can_be_read(engine: FakeEngine) -> None:
    write_record(engine, REQUEST.owner, NAMES, ComposeRecord(State.READY, NAMES.url))  # type: ignore[arg-type]
    (volume,) = engine.volumes(RECORD)
    text = volume.labels[RECORD].replace('"formerly": [], ', "")
    assert "formerly" not in text
    assert ComposeRecord.from_labels({RECORD: text}).formerly == ()


def test_another_spelling_of_the_repository_is_no_other_owner(
    engine: FakeEngine, target: Target[ComposePlan]
) -> None:
    there = dict(engine.there)
    plan = target.deployer.plan_deploy(replace(REQUEST, repository="ssh://git@Example.org:22/A/b"))
    assert plan.steps == ()
    assert engine.there == there
