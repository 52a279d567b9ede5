"""Derives the state of an environment from the cluster's objects."""

from __future__ import annotations

from datetime import datetime

from tasks.core.environment import Owner, State, observed_state
from tasks.core.kubernetes.lease import holder_of
from tasks.core.kubernetes.objects import Object, is_being_deleted
from tasks.core.kubernetes.record import ClusterRecord, record_of, stated_owner
from tasks.core.kubernetes.sleeping import rest_of
from tasks.core.summary import EnvironmentSummary, summarize


def summary(
    found: Object, web: Object | None, lease: Object | None, now: datetime
) -> EnvironmentSummary:
    """Return one environment.

    Args:
        found: its namespace.
        web: its web Deployment, or None.
        lease: its Lease, or None.
        now: the time by the cluster's clock.
    """
    said, record = stated_owner(found), record_of(found)
    names = ("environment", "slug", "branch", "repository")
    rest, held = rest_of(found, record), bool(lease and holder_of(lease, now))
    return summarize(
        Owner(*(said.get(name, "") for name in names)),
        record,
        url=record.url if record else "",
        state=_state(found, record, web, held=held, asleep=rest.asleep is not None),
        created_at=found["metadata"]["creationTimestamp"],
        namespace=found["metadata"]["name"],
        rest=rest,
        requests=record.requests if record else None,
    )


def _state(
    found: Object, record: ClusterRecord | None, web: Object | None, *, held: bool, asleep: bool
) -> State:
    if is_being_deleted(found):
        return State.REMOVING
    doing = None
    if held and (record is None or record.state in {State.DEPLOYING, State.REMOVING}):
        doing = record.state if record else State.DEPLOYING
    wanted = web["spec"].get("replicas") if web else None
    available = (web or {}).get("status", {}).get("availableReplicas", 0)
    return observed_state(
        record,
        doing=doing,
        stopped=wanted == 0 and not available,
        complete=bool(available) and available == wanted,
        asleep=asleep,
    )
