"""Derives the state of environments and workloads from the cluster's objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tasks.adapters.kubernetes.lease import deployed_by, holder_of
from tasks.core.environment import Owner, Release, State, observed_state
from tasks.core.errors import UnreadableError
from tasks.core.images.retention import ImageUse, names_in
from tasks.core.kubernetes.manifests import record_of, stated_owner
from tasks.core.kubernetes.objects import Object, is_being_deleted, parse_time
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.kubernetes.sleeping import rest_of
from tasks.flows.kubernetes.services import service_of
from tasks.flows.target import EnvironmentSummary, ServiceStatus, recorded_use, summarize


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


def image_use(
    found: Object, workloads: Iterable[Object], lease: Object | None, now: datetime
) -> ImageUse:
    """Return what one environment names of images.

    Args:
        found: its namespace.
        workloads: its Deployments; all other workloads are of the same images.
        lease: its Lease, or None.
        now: the time by the cluster's clock.
    """
    said = stated_owner(found)
    runs: set[str] = set()
    sleeps: set[str] = set()
    for item in workloads:
        pod = item["spec"]["template"]["spec"]
        images = {each["image"] for each in (*pod["containers"], *pod.get("initContainers", ()))}
        (runs if item["spec"].get("replicas", 1) else sleeps).update(images)
    use = ImageUse(
        environment=said.get("environment", ""),
        where=found["metadata"]["name"],
        branch=said.get("branch", ""),
        slug=said.get("slug", ""),
        runs=names_in(runs),
        sleeps=names_in(sleeps),
    )
    try:
        record = record_of(found)
        held = bool(lease and holder_of(lease, now))
    except UnreadableError as error:
        return replace(use, problem=error.message)
    if lease and held:
        use = replace(use, runs=use.runs | {deployed_by(lease)})
    return recorded_use(use, record, held=held, more=[record.database] if record else ())


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


def workload_status(item: Object, current: Release | None, now: datetime) -> ServiceStatus:
    """Return one workload: a Deployment, a StatefulSet or a CronJob."""
    kind = item["kind"]
    spec, status = item["spec"], item.get("status", {})
    template = spec["jobTemplate"]["spec"]["template"] if kind == "CronJob" else spec["template"]
    images = [container["image"] for container in template["spec"]["containers"]]
    ours = {current.mautic, current.nginx} if current else set()
    if kind == "CronJob":
        state = "suspended" if spec.get("suspend") else spec["schedule"]
        health = f"{len(status.get('active') or [])} running"
        moment = status.get("lastScheduleTime")
    else:
        wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
        state = (
            "running" if wanted and ready == wanted else ("stopped" if not wanted else "starting")
        )
        health = f"{ready}/{wanted} ready"
        moment = item["metadata"].get("creationTimestamp")
    since = parse_time(moment)
    age = now - since if since else None
    return ServiceStatus(
        service=service_of(item["metadata"]),
        state=state,
        health=health,
        image=images[-1],
        tag=current.tag if current and set(images) & ours else "",
        uptime=f"{int(age.total_seconds() // 60)} min" if age else "",
    )
