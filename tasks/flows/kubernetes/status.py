"""What the cluster's objects say of an environment, as `inv list` and `inv status` show it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tasks.core.environment import Release
from tasks.core.kubernetes.manifests import Record, owner_of, record_of
from tasks.core.kubernetes.objects import Object, is_being_deleted, parse_time
from tasks.flows.kubernetes.services import service_of
from tasks.flows.target import Part, Summary


def summary(found: Object, web: Object | None, lease: Object | None) -> Summary:
    """Return one environment.

    Args:
        found: its namespace.
        web: its web Deployment, or None.
        lease: its Lease, or None.
    """
    said, record = owner_of(found), record_of(found)
    current = record.current if record else None
    return Summary(
        branch=said.get("branch", ""),
        slug=said.get("slug", ""),
        repository=said.get("repository", ""),
        url=record.url if record else "",
        state=_state(found, record, web, held=_is_held(lease)),
        tag=current.tag if current else "",
        commit=current.commit if current else "",
        owner=current.owner if current else "",
        created_at=found["metadata"]["creationTimestamp"],
        deployed_at=current.deployed_at if current else "",
        expires_at=record.expires_at if record else "",
    )


def _is_held(lease: Object | None) -> bool:
    if lease is None or not lease["spec"].get("holderIdentity"):
        return False
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
    return datetime.now(UTC) - renewed < timedelta(seconds=lease["spec"]["leaseDurationSeconds"])


def _state(found: Object, record: Record | None, web: Object | None, *, held: bool) -> str:
    if is_being_deleted(found):
        return "removing"
    if record is None or record.state in {"deploying", "removing"}:
        return (record.state if record else "deploying") if held else "interrupted"
    if record.state == "removed":
        return "removed"
    status = (web or {}).get("status", {})
    if web is None or not status.get("availableReplicas"):
        return "stopped" if web and web["spec"].get("replicas") == 0 else "degraded"
    if record.state == "failed":
        return "failed"
    complete = status.get("availableReplicas") == web["spec"].get("replicas")
    return "running" if complete else "degraded"


def part(item: Object, current: Release | None, now: datetime) -> Part:
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
    return Part(
        service=service_of(item["metadata"]),
        state=state,
        health=health,
        image=images[-1],
        tag=current.tag if current and set(images) & ours else "",
        uptime=f"{int(age.total_seconds() // 60)} min" if age else "",
    )
