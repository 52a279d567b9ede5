"""What the API reports of a release at one moment, and how to read it.

Objects are the API's own JSON as dicts (Kubernetes API reference: Pod v1, Deployment apps/v1,
Job batch/v1, Event v1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tasks.core.manifests import Object
from tasks.core.words import Said

CLOCK_STEP = timedelta(seconds=1)
"""The API's time stamps are cut to whole seconds: so much earlier a thing may seem."""


@dataclass(frozen=True)
class Snapshot:
    """The release's objects as the API reports them at one moment.

    Attributes:
        deployments: as listed.
        statefulsets: as listed.
        replicasets: as listed.
        jobs: those that belong to this rollout.
        pods: as listed, old ones too.
        claims: the PersistentVolumeClaims of the namespace.
        events: the events of the namespace.
        earlier: how often containers, by pod uid and name, had been restarted when the rollout
            began. Pods that were not there yet are left out.
        databases: the StatefulSets of the release's own database, whether or not everything has
            been applied.
        said: what containers have said that are followed, by pod uid and name.
    """

    deployments: Sequence[Object] = ()
    statefulsets: Sequence[Object] = ()
    replicasets: Sequence[Object] = ()
    jobs: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    events: Sequence[Object] = ()
    earlier: Mapping[tuple[str, str], int] = field(default_factory=dict)
    databases: Sequence[Object] = ()
    said: Mapping[tuple[str, str], Said] = field(default_factory=dict)


def last_seen(event: Object) -> datetime:
    """Return when an event was last reported, in either of the API's two ways to say so."""
    series = event.get("series") or {}
    seen = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    seen = time_of(seen or event["metadata"].get("creationTimestamp"))
    return seen or datetime.min.replace(tzinfo=UTC)


def time_of(value: str | None) -> datetime | None:
    """Return an API time stamp (RFC 3339) as a datetime, or None."""
    return datetime.fromisoformat(value) if value else None


def holds(owner: Object, kind: str) -> bool:
    """Return True if one of an object's conditions is true."""
    return any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in owner.get("status", {}).get("conditions", [])
    )


def has_ended(job: Object) -> bool:
    """Return True if a Job has ended, well or not."""
    return holds(job, "Complete") or holds(job, "Failed")


def uid_of(owner: Object) -> str:
    """Return an object's uid."""
    return str(owner["metadata"].get("uid", ""))


def owner_uid(owned: Object) -> str:
    """Return the uid of an object's controller."""
    for reference in owned["metadata"].get("ownerReferences", []):
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def labels_of(owner: Object) -> dict[str, str]:
    """Return an object's labels."""
    return owner["metadata"].get("labels") or {}


def annotations_of(owner: Object) -> dict[str, str]:
    """Return an object's annotations."""
    return owner["metadata"].get("annotations") or {}


def spec_of(pod: Object, name: str) -> Object:
    """Return a container as its pod's spec has it."""
    spec = pod.get("spec", {})
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return next((each for each in containers if each["name"] == name), {"name": name})


def events_of(pod: Object, snapshot: Snapshot) -> list[Object]:
    """Return the events about a pod."""
    return [
        event
        for event in snapshot.events
        if event.get("involvedObject", {}).get("uid") == uid_of(pod)
    ]
