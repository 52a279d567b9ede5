"""What `inv list` makes of a cluster's objects."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.core.cost import Requests
from tasks.core.environment import Failure, Owner, Release, State
from tasks.core.kubernetes.labels import ASLEEP
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.kubernetes.sleeping import annotated
from tasks.core.kubernetes.summary import summary
from tasks.core.sleep import Sleep
from tests.support.fakes import NAMES

Object = dict[str, Any]
NOW = datetime(2020, 1, 1, 12, tzinfo=UTC)
"""The cluster's time, which is not that of this machine."""
OWNER = Owner("dev", NAMES.slug, NAMES.branch, "git@example.org:a/b.git")
RELEASE = Release("1a2b3c4d", "c" * 40, "m@sha256:1", "n@sha256:1", "ada@host", "2019-12-31")


def found(state: State | None, *, going: bool = False) -> Object:
    record = ClusterRecord(state or State.READY, "https://x", "2020-02-01", (RELEASE,))
    made = namespace(OWNER, NAMES, record, "")
    made["metadata"]["creationTimestamp"] = "2019-12-30T00:00:00Z"
    if state is None:
        del made["metadata"]["annotations"]["mautic-multidev.io/record"]
    if going:
        made["metadata"]["deletionTimestamp"] = "2020-01-01T11:59:59Z"
    return made


def web(wanted: int, available: int) -> Object:
    return {"spec": {"replicas": wanted}, "status": {"availableReplicas": available}}


def lease(seconds_ago: float, holder: str = "ada@host (process 1)") -> Object:
    renewed = (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 30}
    return {"spec": spec}


WELL = web(1, 1)


@pytest.mark.parametrize(
    ("state", "seen", "held", "shown"),
    [
        (State.READY, WELL, None, State.RUNNING),
        (State.READY, WELL, lease(0), State.RUNNING),
        (State.READY, web(2, 1), None, State.DEGRADED),
        (State.READY, web(1, 0), None, State.DEGRADED),
        (State.READY, web(0, 0), None, State.STOPPED),
        (State.READY, None, None, State.DEGRADED),
        (State.ROLLED_BACK, WELL, None, State.ROLLED_BACK),
        (State.ROLLED_BACK, web(1, 0), None, State.DEGRADED),
        (State.FAILED, WELL, None, State.FAILED),
        (State.FAILED, None, None, State.FAILED),
        (State.REMOVED, None, None, State.REMOVED),
        (None, None, None, State.INTERRUPTED),
        (None, None, lease(0), State.DEPLOYING),
        (State.DEPLOYING, WELL, None, State.INTERRUPTED),
        (State.REMOVING, None, lease(0), State.REMOVING),
    ],
)
def test_the_state_of_an_environment(
    state: State | None, seen: Object | None, held: Object | None, shown: State
) -> None:
    assert summary(found(state), seen, held, NOW).state is shown


@pytest.mark.parametrize(
    ("state", "seen", "held", "shown"),
    [
        (State.READY, web(0, 0), None, State.ASLEEP),
        (State.FAILED, web(0, 0), None, State.ASLEEP),
        (State.READY, web(0, 0), lease(0), State.ASLEEP),
        # Its pods have yet to end; somebody has started it without `inv wake`.
        (State.READY, web(0, 1), None, State.DEGRADED),
        (State.READY, WELL, None, State.RUNNING),
        (State.DEPLOYING, web(0, 0), None, State.INTERRUPTED),
    ],
)
def test_what_was_put_to_sleep_is_asleep_while_nothing_of_it_runs(
    state: State, seen: Object, held: Object | None, shown: State
) -> None:
    space = found(state)
    sleep = Sleep("2020-01-01T00:00:00+00:00", "ada@host", "by hand")
    space["metadata"]["annotations"][ASLEEP] = annotated(sleep)
    told = summary(space, seen, held, NOW)
    assert (told.state, told.rest.asleep) == (shown, sleep)


@pytest.mark.parametrize(
    ("held", "shown"),
    [
        (lease(0), State.DEPLOYING),
        (lease(29), State.DEPLOYING),
        (lease(31), State.INTERRUPTED),
        (lease(0, holder=""), State.INTERRUPTED),
        ({"spec": {"holderIdentity": "ada"}}, State.INTERRUPTED),
    ],
    ids=["just renewed", "renewed in time", "no longer renewed", "given back", "never renewed"],
)
def test_whether_its_holder_lives_is_told_by_the_clusters_clock(held: Object, shown: State) -> None:
    assert summary(found(State.DEPLOYING), WELL, held, NOW).state is shown


def test_what_is_being_deleted_is_being_removed() -> None:
    assert summary(found(State.READY, going=True), WELL, None, NOW).state is State.REMOVING


def test_an_environment_is_told_by_its_namespace_and_its_record() -> None:
    seen = summary(found(State.READY), WELL, None, NOW)
    assert (seen.branch, seen.slug, seen.repository) == (
        NAMES.branch,
        NAMES.slug,
        "git@example.org:a/b.git",
    )
    assert (seen.tag, seen.commit, seen.owner) == ("1a2b3c4d", "c" * 40, "ada@host")
    assert (seen.created_at, seen.expires_at) == ("2019-12-30T00:00:00Z", "2020-02-01")
    assert seen.namespace == NAMES.namespace
    meta = {"name": "bare", "creationTimestamp": "2019-12-30T00:00:00Z"}
    bare = summary({"metadata": meta}, None, None, NOW)
    assert (bare.branch, bare.repository, bare.url, bare.tag) == ("", "", "", "")


def test_why_its_last_deploy_failed_and_what_it_requests_are_in_the_record() -> None:
    failure = Failure("2b3c4d5e", "2020-01-01T00:00:00+00:00", "no memory")
    record = ClusterRecord(
        *(State.READY, "https://x", "2020-02-01", (RELEASE,)), requests=Requests(500)
    ).with_failure(replace(RELEASE, tag="2b3c4d5e"), failure)
    made = namespace(OWNER, NAMES, record, "")
    made["metadata"]["creationTimestamp"] = "2019-12-30T00:00:00Z"
    seen = summary(made, WELL, None, NOW)
    assert (seen.failure, seen.requests) == (failure, Requests(500))
