"""Derives the state of environments and workloads from the cluster's objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tasks.adapters.kubernetes.lease import deployed_by
from tasks.core.environment import Release
from tasks.core.errors import UnreadableError
from tasks.core.images.retention import ImageUse, names_in, registries_in
from tasks.core.kubernetes.lease import holder_of
from tasks.core.kubernetes.objects import Object, parse_time
from tasks.core.kubernetes.record import record_of, stated_owner
from tasks.flows.kubernetes.services import service_of
from tasks.flows.target import ServiceStatus, recorded_use


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
        registries=registries_in(runs | sleeps),
    )
    try:
        record = record_of(found)
        held = bool(lease and holder_of(lease, now))
    except UnreadableError as error:
        return replace(use, problem=error.message)
    if lease and held:
        use = replace(use, runs=use.runs | {deployed_by(lease)})
    return recorded_use(use, record, held=held, more=[record.database] if record else ())


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
