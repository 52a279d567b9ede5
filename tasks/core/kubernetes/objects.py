"""Reads the API's objects: conditions, container statuses, owners, timestamps.

Objects are the API's own JSON as dicts (Kubernetes API reference: ObjectMeta v1, Pod v1, Event v1,
Condition v1). An absent field and a null one mean the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

Object = dict[str, Any]

CLOCK_STEP = timedelta(seconds=1)
"""The API truncates timestamps to seconds, so things may seem this much earlier."""


# -- metadata -------------------------------------------------------------------------------------


def uid_of(item: Object) -> str:
    """Return an object's uid."""
    return str(item["metadata"].get("uid", ""))


def labels_of(item: Object) -> dict[str, str]:
    """Return an object's labels."""
    return item["metadata"].get("labels") or {}


def annotations_of(item: Object) -> dict[str, str]:
    """Return an object's annotations."""
    return item["metadata"].get("annotations") or {}


def title_of(item: Object) -> str:
    """Return kind and name as kubectl shows them, e.g. ``pod/web-1``."""
    return f"{item.get('kind', 'object').lower()}/{item['metadata']['name']}"


def is_being_deleted(item: Object) -> bool:
    """Return True if an object is being deleted."""
    return bool(item["metadata"].get("deletionTimestamp"))


def owners_of(item: Object) -> Sequence[Object]:
    """Return an object's owner references."""
    return item["metadata"].get("ownerReferences") or ()


def controller_uid(item: Object) -> str:
    """Return the uid of an object's controller, or an empty string."""
    return next((str(each["uid"]) for each in owners_of(item) if each.get("controller")), "")


# -- timestamps -----------------------------------------------------------------------------------


def parse_time(stamp: str | None) -> datetime | None:
    """Return an API time stamp (RFC 3339) as a datetime, or None."""
    return datetime.fromisoformat(stamp) if stamp else None


def created_at(item: Object) -> datetime | None:
    """Return when an object was created, or None if unknown."""
    return parse_time(item["metadata"].get("creationTimestamp"))


# -- events ---------------------------------------------------------------------------------------


def last_seen(event: Object) -> datetime:
    """Return when an event was last reported, by either of the API's two formats."""
    series = event.get("series") or {}
    stamp = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return parse_time(stamp) or created_at(event) or datetime.min.replace(tzinfo=UTC)


def times_seen(event: Object) -> int:
    """Return how often an event was reported, by either of the API's two formats."""
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def event_uid(event: Object) -> str:
    """Return the uid of the object that an event is about."""
    return str(event.get("involvedObject", {}).get("uid", ""))


def event_subject(event: Object) -> str:
    """Return kind and name of the object that an event is about."""
    about = event.get("involvedObject", {})
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


# -- conditions -----------------------------------------------------------------------------------


def conditions_of(item: Object) -> Sequence[Object]:
    """Return the conditions in an object's status."""
    return item.get("status", {}).get("conditions") or ()


def find_condition(item: Object, kind: str, status: str | None = None) -> Object | None:
    """Return an object's condition of a type, or None.

    Args:
        kind: the condition's type, e.g. ``Ready``.
        status: if given, the status that it must have.
    """
    for condition in conditions_of(item):
        if condition["type"] == kind and status in {None, condition["status"]}:
            return condition
    return None


def has_condition(item: Object, kind: str) -> bool:
    """Return True if a condition of an object is true."""
    return find_condition(item, kind, "True") is not None


def has_ended(job: Object) -> bool:
    """Return True if a Job has ended, successfully or not."""
    return has_condition(job, "Complete") or has_condition(job, "Failed")


# -- containers -----------------------------------------------------------------------------------


def init_statuses(pod: Object) -> Sequence[Object]:
    """Return the statuses of a pod's init containers."""
    return pod.get("status", {}).get("initContainerStatuses") or ()


def main_statuses(pod: Object) -> Sequence[Object]:
    """Return the statuses of a pod's containers, without init containers."""
    return pod.get("status", {}).get("containerStatuses") or ()


def container_statuses(pod: Object) -> Iterator[Object]:
    """Yield the statuses of all containers of a pod, init containers first."""
    yield from init_statuses(pod)
    yield from main_statuses(pod)


def container_spec(pod: Object, name: str) -> Object:
    """Return a container's spec in its pod."""
    spec = pod.get("spec", {})
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    return next((each for each in containers if each["name"] == name), {"name": name})


def is_running(container: Object) -> bool:
    """Return True if a container runs, by its status."""
    return "running" in container.get("state", {})


def latest_end(container: Object) -> Object:
    """Return how a container ended: now, or before it was restarted; empty if it never did."""
    last: Object = container.get("lastState", {}).get("terminated") or {}
    return container.get("state", {}).get("terminated") or last
