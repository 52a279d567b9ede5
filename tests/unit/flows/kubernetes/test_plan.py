"""What a deploy to a cluster is going to do, step by step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.adapters.kubernetes.helm import Revision
from tasks.core.environment import State
from tasks.core.kubernetes.record import ClusterRecord
from tasks.flows.kubernetes.plan import ClusterPlan, decide
from tests.support.fakes import NAMES, RELEASE, REQUEST

DEPLOYED = ClusterRecord(
    State.READY, NAMES.url, history=(RELEASE,), revision=3, fingerprint="print", database="m@1"
)
PLAN = ClusterPlan(
    request=REQUEST,
    release=RELEASE,
    record=DEPLOYED,
    expires_at="2026-12-01T00:00:00+00:00",
    values={},
    fingerprint="print",
    history=(Revision(2, "superseded"), Revision(3, "deployed")),
    seed=(),
    has_server=True,
)
NEWER = replace(RELEASE, tag="5e6f7a8b", mautic="m@sha256:2", nginx="n@sha256:2")
FIRST: dict[str, Any] = {"record": None, "history": (), "seed": ("db_password", "secret_key")}


def steps(plan: ClusterPlan, *, exists: bool = True) -> list[tuple[str, str, str]]:
    return [(step.verb, step.subject, step.reason) for step in decide(plan, exists=exists)]


def test_where_everything_is_as_wanted_there_is_nothing_to_do() -> None:
    assert steps(PLAN) == []


def test_a_first_deploy_makes_everything_in_order() -> None:
    plan = replace(PLAN, **FIRST, kept_off=("fetch",))
    assert [step[:2] for step in steps(plan, exists=False)] == [
        ("create", f"namespace {NAMES.namespace}"),
        ("create", "secret mautic"),
        ("create", f"database {NAMES.database}"),
        ("keep off", "cron fetch"),
        ("install", f"release {NAMES.release}"),
    ]
    assert plan.is_first
    assert plan.before(State.DEPLOYING) == ClusterRecord(
        State.DEPLOYING, NAMES.url, PLAN.expires_at, database=RELEASE.mautic
    )


def test_workers_are_held_where_the_code_changes() -> None:
    assert [step[:2] for step in steps(replace(PLAN, release=NEWER, fingerprint="new"))] == [
        ("hold", "workers and crons"),
        ("upgrade", f"release {NAMES.release}"),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (FIRST, "nothing is deployed"),
        ({"release": NEWER, "fingerprint": "new"}, f"images: {RELEASE.tag} becomes 5e6f7a8b"),
        ({"fingerprint": "other"}, "the chart or its values changed"),
        ({"record": replace(DEPLOYED, state=State.REMOVING)}, "a clean-up was cut off"),
        ({"record": replace(DEPLOYED, state=State.FAILED)}, "the last deploy: failed"),
        ({"record": replace(DEPLOYED, state=State.ROLLED_BACK)}, "the last deploy: rolled back"),
        ({"record": replace(DEPLOYED, state=State.DEPLOYING)}, "the last deploy: deploying"),
        ({"history": (Revision(4, "deployed"),)}, "the chart or its values changed"),
    ],
)
def test_the_release_is_upgraded_for_a_reason(changes: dict[str, Any], reason: str) -> None:
    assert steps(replace(PLAN, **changes))[-1][2] == reason


def test_a_release_that_a_dead_run_left_pending_is_repaired_first() -> None:
    plan = replace(PLAN, history=(*PLAN.history, Revision(4, "pending-upgrade")))
    assert steps(plan)[0] == (
        "repair",
        f"release {NAMES.release}",
        "pending-upgrade, left by a dead run",
    )


@pytest.mark.parametrize(
    ("changes", "makes"),
    [
        ({}, False),
        ({"seed": ("db_password",)}, True),
        ({"seed": ("db_password",), "has_server": False}, False),
        (FIRST, True),
        ({**FIRST, "has_server": False}, False),
    ],
)
def test_a_database_is_made_where_it_has_no_password_yet(
    changes: dict[str, Any], makes: bool
) -> None:
    plan = replace(PLAN, **changes)
    assert plan.makes_database is makes
    assert (f"database {NAMES.database}" in {step[1] for step in steps(plan)}) is makes
    kept = plan.record.database if plan.record else ""
    assert plan.before(State.DEPLOYING).database == (RELEASE.mautic if makes else kept)
