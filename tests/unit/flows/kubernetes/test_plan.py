"""What a deploy to a cluster is going to do, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.adapters.kubernetes.helm import Revision
from tasks.core.environment import Release, State
from tasks.core.environment_data import Data
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.plan import Step
from tasks.core.server_snapshots import SnapshotOrder
from tasks.core.sleep import Sleep
from tasks.flows.kubernetes.plan import ClusterPlan, decide
from tests.support.fakes import NAMES, RELEASE, REQUEST

DEPLOYED = Revision(3, "deployed")
RECORD = ClusterRecord(
    State.READY, NAMES.url, revision=3, fingerprint="f1", history=(RELEASE,), database="m@sha256:0"
)
PLAN = ClusterPlan(
    request=REQUEST,
    release=RELEASE,
    record=RECORD,
    expires_at="2026-02-01",
    values={"images": {}},
    fingerprint="f1",
    history=(DEPLOYED,),
    seed=(),
    has_server=True,
)
NEWER: Release = replace(RELEASE, tag="newer", mautic="m@sha256:2")


def told(plan: ClusterPlan, *, exists: bool = True) -> list[tuple[str, str]]:
    return [(step.verb, step.reason) for step in decide(replace(plan, exists=exists))]


def test_another_secret_is_no_reason_to_change_the_database() -> None:
    assert not replace(PLAN, seed=("door_password", "redis_password")).makes_database
    assert replace(PLAN, seed=("db_password",)).makes_database


def test_a_release_that_works_needs_nothing() -> None:
    assert told(PLAN) == []
    assert not PLAN.is_first


def test_what_sleeps_is_woken_and_released_anew() -> None:
    asleep = Sleep("2026-01-01T00:00:00+00:00", "ada@host", "by hand")
    assert told(replace(PLAN, asleep=asleep)) == [
        ("wake", str(asleep)),
        ("upgrade", "it was asleep"),
    ]
    newer = replace(PLAN, release=NEWER, asleep=asleep)
    assert [verb for verb, _ in told(newer)] == ["wake", "quiesce", "upgrade"]


def test_a_first_deploy_makes_everything() -> None:
    first = replace(PLAN, record=None, history=(), seed=("db_password",))
    assert first.is_first
    assert told(first, exists=False) == [
        ("create", ""),
        ("create", "db_password"),
        ("create", ""),
        ("install", "nothing is deployed"),
    ]


def test_a_new_database_is_filled_and_one_that_has_data_keeps_it() -> None:
    seed = Data("seed:1", "from seed 1")
    seeded = replace(PLAN, record=None, history=(), data=seed)
    fill, install = ("fill", "from seed 1"), ("install", "nothing is deployed")
    assert told(seeded)[-2:] == [install, fill]
    assert told(replace(seeded, clones=True))[-2:] == [fill, install]
    assert seeded.before(State.DEPLOYING).data == seeded.as_dict()["data"] == "seed:1"
    asked = replace(PLAN, request=replace(REQUEST, data="seed:1"))
    assert told(asked) == []
    assert asked.title.endswith("(1a2b3c4d), which keeps its data (empty)")
    assert "keeps" not in replace(asked, data=seed).title
    assert "keeps" not in replace(seeded, request=replace(REQUEST, data="seed")).title


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State.DEPLOYING, "the last deploy was interrupted"),
        (State.FAILED, "the last deploy failed"),
        (State.ROLLED_BACK, "the last deploy was rolled back"),
        (State.REMOVING, "a clean-up was cut off"),
    ],
)
def test_what_did_not_end_well_is_deployed_again(state: State, reason: str) -> None:
    assert told(replace(PLAN, record=replace(RECORD, state=state))) == [("upgrade", reason)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fingerprint": "f2"}, [("upgrade", "the chart or its values changed")]),
        (
            {"release": NEWER, "fingerprint": "f2"},
            [
                ("quiesce", "while the database is migrated"),
                ("upgrade", "images: 1a2b3c4d becomes newer"),
            ],
        ),
        (
            {"history": (DEPLOYED, Revision(4, "pending-upgrade"))},
            [
                ("repair", "pending-upgrade, left by a dead run"),
                ("upgrade", "the chart or its values changed"),
            ],
        ),
    ],
)
def test_what_has_changed_is_said(
    changes: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert told(replace(PLAN, **changes)) == expected


def test_the_snapshot_of_the_server_comes_before_all_else() -> None:
    order = SnapshotOrder("mautic-prod-at-1", "mautic-prod", {}, "before the code of newer")
    plan = replace(PLAN, release=NEWER, fingerprint="f2", snapshot=order)
    (first, *_) = decide(plan)
    assert first == Step("snapshot", "server mautic-prod", "before the code of newer")
    assert told(replace(PLAN, snapshot=order)) == []


def test_the_record_of_a_deploy_under_way_knows_how_to_drop_the_database() -> None:
    before = PLAN.before(State.DEPLOYING)
    said = {"state": State.DEPLOYING, "expires_at": "2026-02-01", "data": "empty"}
    assert before == replace(RECORD, **said)
    first = replace(PLAN, record=None, seed=("db_password",)).before(State.DEPLOYING)
    assert (first.database, first.url, first.history) == (RELEASE.mautic, NAMES.url, ())


def test_a_plan_is_told_with_its_values() -> None:
    said = PLAN.as_dict()
    assert said["title"] == f"deploy {NAMES.branch} to local (1a2b3c4d)"
    assert said["images"] == {"mautic": "m@sha256:1", "nginx": "n@sha256:1"}
    assert said["values"] == {"images": {}}
