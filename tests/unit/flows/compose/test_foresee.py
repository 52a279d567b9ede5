"""What a deploy to this machine changes of containers, and what has become of them since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.foresight import ADD, CHANGE, REMOVE, RUN, Foresight, ObjectChange
from tasks.core.saved_plan import DATABASE_IMAGE
from tests.support.fakes import NAMES, REQUEST
from tests.unit.flows.compose.test_deployer import FIRST, SECOND, Bench, bench, deployed

__all__ = ["bench", "deployed"]

OWNER = REQUEST.owner


def foreseen(bench: Bench, request: object = FIRST) -> Foresight:
    deployer = bench.target.deployer
    return deployer.foresee(deployer.plan_deploy(request))  # type: ignore[arg-type]


def verbs(objects: tuple[ObjectChange, ...]) -> dict[str, str]:
    return {each.title.partition("/")[2]: each.verb for each in objects}


def drift(bench: Bench) -> list[tuple[str, str]]:
    found = bench.target.inspector.drift(OWNER, NAMES)
    assert found is not None
    return [(each.verb, each.title) for each in found]


def stop(bench: Bench, service: str, **changes: str) -> None:
    name = f"{NAMES.namespace}-{service}-1"
    bench.engine.there[name] = replace(bench.engine.there[name], **changes)


def test_a_first_deploy_adds_each_container_and_migrates(bench: Bench) -> None:
    found = verbs(foreseen(bench).objects)
    secrets = f"{NAMES.namespace}_secrets"
    assert found == {
        secrets: ADD,
        "migrate": RUN,
        **dict.fromkeys(("database", "web", "fpm", "worker", "cron"), ADD),
    }


def test_the_same_again_touches_nothing(deployed: Bench) -> None:
    assert foreseen(deployed).objects == ()


def test_another_release_names_the_images(deployed: Bench) -> None:
    found = foreseen(deployed, SECOND).objects
    (web,) = (each for each in found if each.title == "container/web")
    ((path, before, after),) = [(one.path, one.before, one.after) for one in web.fields]
    assert (web.verb, path) == (CHANGE, "image")
    assert before != after == deployed.target.deployer.plan_deploy(SECOND).release.nginx


def test_its_facts_are_others_when_a_container_or_the_record_is(deployed: Bench) -> None:
    before = foreseen(deployed, SECOND).facts
    assert foreseen(deployed, SECOND).facts == before
    stop(deployed, "web", id="other")
    replaced = foreseen(deployed, SECOND).facts
    deployed.deploy(SECOND)
    assert before != replaced != foreseen(deployed, SECOND).facts


def test_a_database_image_that_is_made_later_changes_its_own_fact_alone(bench: Bench) -> None:
    deployer = bench.target.deployer
    plan = deployer.plan_deploy(FIRST)

    def facts(image: str) -> dict[str, str]:
        database = replace(plan.wanted["database"], image=image)
        other = replace(plan, database=image, wanted={**plan.wanted, "database": database})
        return deployer.foresee(other).all_facts

    unmade, made = facts("mysql:8.4"), facts("host/mysql@sha256:1")
    assert unmade.pop(DATABASE_IMAGE) == ""
    assert made.pop(DATABASE_IMAGE) == "host/mysql@sha256:1"
    assert unmade == made


def test_nothing_has_drifted_after_a_deploy(deployed: Bench) -> None:
    assert drift(deployed) == []


def test_nothing_is_told_of_what_was_never_deployed(bench: Bench) -> None:
    assert bench.target.inspector.drift(OWNER, NAMES) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": "exited"}, [(CHANGE, "container/worker")]),
        ({"image": "elsewhere@sha256:9"}, [(CHANGE, "container/worker")]),
    ],
)
def test_a_container_that_is_another_has_drifted(
    deployed: Bench, changes: dict[str, str], told: list[tuple[str, str]]
) -> None:
    stop(deployed, "worker", **changes)
    assert drift(deployed) == told


def test_a_container_that_is_gone_or_was_added_has_drifted(deployed: Bench) -> None:
    del deployed.engine.there[f"{NAMES.namespace}-cron-1"]
    deployed.engine.run("extra", "x@sha256:1")
    name = f"container/{NAMES.namespace}-extra-1"
    assert drift(deployed) == [(REMOVE, "container/cron"), (ADD, name)]
