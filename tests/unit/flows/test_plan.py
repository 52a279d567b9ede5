"""One plan: its page, its facts, and whether migrations may run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.environment import Failure, Record, State
from tasks.core.foresight import ADD, CHANGE, KEEP, FieldChange, Foresight, ObjectChange
from tasks.core.plan import FIT, Step
from tasks.core.server_snapshots import SnapshotOrder
from tasks.core.terraform_plan import PlanSummary, ResourceChange
from tasks.flows.plan import UNBUILT, WholePlan, migration_outlook
from tests.support.fakes import PLAN, RELEASE, a_record

IMAGE = FieldChange("spec.image", "m@sha256:1", f"host/m@{UNBUILT}")
FORESIGHT = Foresight(
    (
        ObjectChange(CHANGE, "deployment/web", (IMAGE,)),
        ObjectChange(KEEP, "httproute/web"),
    ),
    {"release": "revision 1, deployed"},
)
WHOLE = WholePlan(None, PLAN, FORESIGHT, "none, the image is the same", asked={"settings": "x"})
SAME = replace(PLAN, record=a_record(State.READY, RELEASE))
OTHER = replace(SAME, release=replace(RELEASE, mautic="m@sha256:2"))


def test_it_is_one_page() -> None:
    assert list(WHOLE.lines()) == [
        "deploy feature/x to local (1a2b3c4d):",
        "  create  service web",
        "objects: 1 changed, 1 unchanged",
        "  ~ deployment/web",
        '      spec.image: "m@sha256:1" -> m, not built yet',
        "migrations: none, the image is the same",
        "data: begins empty",
        f"address: {PLAN.request.names.url}, httproute/web: stays as it is",
        "infrastructure: not asked (--infra)",
    ]


def test_no_step_names_the_digest_of_an_image_that_has_yet_to_be_built() -> None:
    short = f"m@{UNBUILT.removeprefix('sha256:')[:12]}"
    to_it = replace(PLAN, steps=(Step("update", "service fpm", f"new image {short}"),))
    assert (
        "  update  service fpm  (new image m, not built yet)"
        in replace(WHOLE, deploy=to_it).lines()
    )


def test_what_terraform_would_do_is_a_part_of_the_page() -> None:
    lost = ResourceChange("aws_db_instance.this", "aws_db_instance", "replace", ("engine",))
    summary = PlanSummary("stack dev", (lost,), outputs=("host",))
    assert list(replace(WHOLE, infrastructure=summary).lines())[-3:] == [
        "stack dev: 1 to replace, 1 outputs",
        "  outputs: host",
        "  ± aws_db_instance.this  (because of engine; LOSES databases)",
    ]
    outputs = replace(summary, changes=())
    assert list(replace(WHOLE, infrastructure=outputs).lines())[-2:] == [
        "stack dev: 1 outputs",
        "  outputs: host",
    ]
    assert replace(WHOLE, infrastructure=summary).as_dict()["infrastructure"]["counts"]["replace"]


def test_it_is_all_that_a_dry_run_says_and_more() -> None:
    told = WHOLE.as_dict()
    assert told | PLAN.as_dict() == told
    assert [each["verb"] for each in told["objects"]] == [CHANGE, KEEP]
    assert (told["build"], told["infrastructure"]) == (None, "not asked (--infra)")


def test_its_effects_name_fields_but_no_values() -> None:
    assert WHOLE.effects() == ("change deployment/web spec.image",)


@pytest.mark.parametrize(
    "other",
    [
        replace(WHOLE, asked={"settings": "y"}),
        replace(WHOLE, foresight=replace(FORESIGHT, facts={"release": "revision 2, deployed"})),
        replace(WHOLE, foresight=Foresight((ObjectChange(ADD, "a/b"),), FORESIGHT.facts)),
        replace(WHOLE, deploy=replace(PLAN, steps=(Step("update", "service web"),))),
        replace(WHOLE, deploy=replace(PLAN, release=replace(RELEASE, nginx="n@sha256:2"))),
        replace(WHOLE, deploy=replace(PLAN, release=replace(RELEASE, commit="other"))),
    ],
)
def test_its_facts_are_others_if_anything_is(other: WholePlan) -> None:
    assert other.facts != WHOLE.facts


def test_who_has_deployed_last_is_a_fact() -> None:
    def last(record: Record) -> str:
        return replace(WHOLE, deploy=replace(PLAN, record=record)).facts["deployed"]

    assert last(a_record()) == ""
    deployed = a_record(State.READY, RELEASE)
    assert last(deployed) == "1a2b3c4d by ada@host at 2026-01-01"
    failure = Failure("5e6f7a8b", "2026-01-02", "it broke")
    failed = deployed.with_failure(replace(RELEASE, tag="5e6f7a8b", owner="bob@ci"), failure)
    assert last(failed) == "5e6f7a8b, which failed, by bob@ci at 2026-01-02"
    again = failed.with_release(replace(RELEASE, deployed_at="2026-01-03"))
    assert last(again) == "1a2b3c4d by ada@host at 2026-01-03"


def test_when_it_was_made_is_no_fact() -> None:
    later = replace(PLAN, release=replace(RELEASE, deployed_at="2027-01-01"))
    assert replace(WHOLE, deploy=later).facts == WHOLE.facts


def test_what_a_cluster_has_left_is_no_fact() -> None:
    steps = (Step(FIT, "3 pods", "2 nodes, 5 of 100 connections"), *PLAN.steps)
    assert replace(WHOLE, deploy=replace(PLAN, steps=steps)).facts == WHOLE.facts


def test_a_snapshots_name_which_has_the_time_is_no_fact_unless_it_is_there() -> None:
    def of(name: str, *, there: bool = False) -> dict[str, str]:
        order = SnapshotOrder(name, "db", {}, f"a new image: {name}", there)
        steps = (Step("snapshot", "server db", order.reason),)
        return replace(WHOLE, deploy=replace(PLAN, snapshot=order, steps=steps)).facts

    assert of("x-120000") == of("x-120001") != WHOLE.facts
    assert of("x-120000", there=True) != of("x-120001", there=True)


def outlook(was: str, becomes: str) -> str:
    keys = {"m@sha256:1": was, "m@sha256:2": becomes}
    return migration_outlook(OTHER, keys.__getitem__)


def test_a_first_deploy_installs() -> None:
    assert migration_outlook(PLAN, lambda _: "") == "Mautic is installed"


def test_the_same_image_migrates_nothing() -> None:
    assert migration_outlook(SAME, lambda _: "") == "none, the image is the same"


def test_migrations_may_run_where_the_code_is_another_or_unknown() -> None:
    assert outlook("a", "a") == "none, the code is the same"
    assert outlook("a", "b") == "some may run: the code is another (a becomes b)"
    assert outlook("", "") == "some may run: whether the code is another is unknown"
    assert outlook("a", "").endswith("is unknown")
