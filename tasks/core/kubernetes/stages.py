"""What of an environment in a cluster is stopped and started together, in which order, and how.

Each workload says how it was when it was stopped, in an annotation, so that whoever wakes it needs
nothing else: the numbers of pods stand at the API's subresource ``scale``, and a CronJob's schedule
at ``suspend``. An autoscaler leaves a Deployment without pods alone. The platform's entrance wakes
by this module, too (docker/platform/entrance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from functools import partial

from tasks.core.kubernetes.labels import AWAKE, COMPONENT
from tasks.core.kubernetes.objects import Object, annotations_of, labels_of

KINDS = ("CronJob", "Deployment", "StatefulSet")
"""What sleeps."""


Change = tuple[Object, Object]
"""A workload and its patch."""


class SleepStage(IntEnum):
    """What is stopped together, in this order; it is started in the other one."""

    WORK = 0
    """Workers and crons: what they are doing is finished first."""
    WEB = 1
    SERVERS = 2
    """What the others use: a database of the environment's own, sessions, the mail catcher."""

    @property
    def title(self) -> str:
        """A few words, for plans."""
        return ("workers and crons", "web", "database and other servers of its own")[self]


_STAGES = {"worker": SleepStage.WORK, "cron": SleepStage.WORK, "web": SleepStage.WEB}
PASSING = frozenset({"migrate"})
"""Components that are no services: a migration's pod stays as evidence."""


def stage_of(item: Object) -> SleepStage:
    """Return the stage of a workload or a pod, by its component."""
    return _STAGES.get(labels_of(item).get(COMPONENT, ""), SleepStage.SERVERS)


def is_up(pod: Object) -> bool:
    """Return True if a pod of a service has not ended."""
    phase = pod.get("status", {}).get("phase")
    return phase not in {"Succeeded", "Failed"} and labels_of(pod).get(COMPONENT) not in PASSING


def of_stage(items: Iterable[Object], stage: SleepStage) -> list[Object]:
    """Return those workloads or pods that are of a stage."""
    return [item for item in items if stage_of(item) is stage]


def stop_patch(item: Object, *, fresh: bool = False) -> Object | None:
    """Return the patch that stops a workload, and notes how it was; None if it is stopped.

    So a second run after one that was interrupted never notes that there were no pods.

    Args:
        fresh: whether its environment is awake until now: then a note is one of an earlier sleep,
            which the entrance has ended, and may not take away.
    """
    if item["kind"] == "CronJob":
        if item["spec"].get("suspend"):
            return None
        return _patch("false", {"suspend": True})
    # The API's default is 1.
    count = item["spec"].get("replicas", 1)
    if count:
        return _patch(str(count), {"replicas": 0})
    return _patch(None, {}) if fresh and AWAKE in annotations_of(item) else None


def start_patch(item: Object) -> Object | None:
    """Return the patch that starts a workload, and takes the note away; None if it has none.

    One that somebody else has started meanwhile stays as it is.
    """
    if AWAKE not in annotations_of(item):
        return None
    if item["kind"] == "CronJob":
        return _patch(None, {"suspend": False})
    is_up = item["spec"].get("replicas", 1) > 0
    return _patch(None, {} if is_up else {"replicas": awake_count(item)})


def stops(
    found: Sequence[Object], *, fresh: bool = False
) -> Iterator[tuple[SleepStage, list[Change]]]:
    """Yield the stages in the order of going to sleep, with what has to be stopped of each.

    Args:
        fresh: as for ``stop_patch``.
    """
    for stage in SleepStage:
        yield stage, _changes(of_stage(found, stage), partial(stop_patch, fresh=fresh))


def starts(found: Sequence[Object]) -> Iterator[tuple[SleepStage, list[Change]]]:
    """Yield the stages in the order of waking, with what has to be started of each."""
    for stage in reversed(SleepStage):
        yield stage, _changes(of_stage(found, stage), start_patch)


def _changes(items: Iterable[Object], patch_of: Callable[[Object], Object | None]) -> list[Change]:
    return [(item, patch) for item in items if (patch := patch_of(item))]


def awake_count(item: Object) -> int:
    """Return how many pods a sleeping workload has while it is awake; 1 if its note is damaged."""
    noted = annotations_of(item).get(AWAKE, "")
    is_count = noted.isascii() and noted.isdecimal() and len(noted) <= 3
    return max(1, int(noted)) if is_count else 1


def _patch(noted: str | None, spec: Object) -> Object:
    return {"metadata": {"annotations": {AWAKE: noted}}, "spec": spec}
