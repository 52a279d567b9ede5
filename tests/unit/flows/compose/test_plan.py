"""What a deploy to this machine is going to do, step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.compose.reconcile import ServiceChange, WantedService
from tasks.core.compose.record import ComposeRecord
from tasks.core.environment import State
from tasks.core.environment_data import Data
from tasks.flows.compose.plan import ComposePlan, migration, migration_reason
from tests.support.fakes import NAMES, RELEASE, REQUEST

SERVICES = ("database", "web", "fpm", "worker", "cron")
WANTED = {name: WantedService(name, f"{name}@sha256:1", f"print of {name}") for name in SERVICES}
WANTED["migrate"] = WantedService("migrate", "m@sha256:1", "print of migrate")
RECORD = ComposeRecord(State.READY, NAMES.url, migrated="code print of migrate", history=(RELEASE,))
PLAN = ComposePlan(
    request=REQUEST,
    release=RELEASE,
    record=RECORD,
    expires_at="",
    database="mysql@sha256:1",
    wanted=WANTED,
    changes=tuple(ServiceChange(name, "keep", "unchanged") for name in SERVICES),
    migration="code print of migrate",
    migrate="",
    seed=False,
    leftovers=(),
)


def test_where_everything_is_kept_there_is_nothing_to_do() -> None:
    assert PLAN.steps == ()
    assert not PLAN.is_first


def test_the_database_is_there_before_it_is_migrated_and_the_services_come_after() -> None:
    changes = tuple(ServiceChange(name, "create", "it is not there") for name in reversed(SERVICES))
    plan = replace(PLAN, record=None, changes=changes, migrate="never", seed=True, leftovers=("1",))
    assert plan.is_first
    assert [(step.verb, step.subject) for step in plan.steps] == [
        ("create", "secrets"),
        ("remove", "other containers"),
        ("create", "service database"),
        ("migrate", f"database {NAMES.database}"),
        *(("create", f"service {name}") for name in ("cron", "worker", "fpm", "web")),
    ]


def test_a_new_database_is_filled_when_everything_runs() -> None:
    plan = replace(PLAN, data=Data("seed:1", "from seed 1"))
    assert plan.steps == ()
    # Nothing else is missing where an earlier run was cut off.
    steps = replace(plan, record=replace(RECORD, history=())).steps
    assert (steps[-1].verb, steps[-1].reason) == ("fill", "from seed 1")
    assert {step.verb for step in steps[:-1]} == {"keep"}


def test_what_works_on_the_database_is_restarted_around_a_migration() -> None:
    steps = {step.subject: step.verb for step in replace(PLAN, migrate="new image").steps}
    assert steps == {
        "service database": "keep",
        f"database {NAMES.database}": "migrate",
        "service web": "keep",
        "service fpm": "keep",
        "service worker": "restart",
        "service cron": "restart",
    }


def test_a_plan_is_told_with_all_of_its_images() -> None:
    told = replace(PLAN, request=replace(REQUEST, rollback=True)).as_dict()
    assert told["title"] == f"roll back {NAMES.branch} to local (1a2b3c4d)"
    assert told["images"] == {
        "mautic": "m@sha256:1",
        "nginx": "n@sha256:1",
        "database": "mysql@sha256:1",
    }
    assert (told["branch"], told["url"], told["tag"]) == (NAMES.branch, NAMES.url, "1a2b3c4d")
    assert (told["commit"], told["steps"]) == (RELEASE.commit, [])


@pytest.mark.parametrize(
    ("migrated", "reason"),
    [
        (None, "it was never migrated"),
        ("", "it was never migrated"),
        ("code print", ""),
        ("code other", "its configuration changed"),
        ("other print", "new image m@ab"),
    ],
)
def test_why_a_database_is_migrated(migrated: str | None, reason: str) -> None:
    record = None if migrated is None else replace(RECORD, migrated=migrated)
    assert migration_reason("code print", record, "r/m@sha256:ab") == reason


def test_a_migration_is_known_by_the_code_or_by_the_whole_image() -> None:
    assert migration(WANTED, "code") == "code print of migrate"
    assert migration(WANTED, "") == "m@sha256:1 print of migrate"
