"""Quiesce what works on the database, before it is migrated."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.parallel import map_parallel
from tasks.adapters.wait import wait_until
from tasks.core.errors import DeadlineError
from tasks.core.kubernetes.manifests import COMPONENT, INSTANCE, PREFIX
from tasks.core.kubernetes.objects import (
    Object,
    has_ended,
    is_being_deleted,
    labels_of,
    main_statuses,
    owners_of,
    uid_of,
)
from tasks.core.names import Names

HOLD_SECONDS = 600
"""How long scheduled commands that run already may take to end."""
POLL_SECONDS = 0.1


def quiesce(cluster: Cluster, names: Names, say: Callable[[str], None]) -> None:
    """Stop workers and crons, and wait for what they are at.

    The upgrade itself starts them again, as does the way back. Only a container that runs is waited
    for: a pod that has not begun may be waiting itself, for the very migration that comes next, or
    for an image or a volume that never comes. Scheduled runs that have not begun are taken away;
    the pods of workers go with their Deployments.

    Args:
        say: told what is waited for.

    Raises:
        DeadlineError: a command did not end in time.
    """
    where, ours = names.namespace, f"{INSTANCE}={names.release}"
    found = [
        (kind, item["metadata"]["name"], {"spec": spec})
        for kind, selector, spec in (
            ("CronJob", ours, {"suspend": True}),
            ("Deployment", f"{ours},{COMPONENT} in (worker,cron)", {"replicas": 0}),
        )
        for item in cluster.find(kind, where, selector)
    ]
    map_parallel(lambda each: cluster.patch(each[0], each[1], where, each[2]), found)
    busy: set[str] = set()
    told: set[str] = set()

    def are_idle() -> bool:
        pods = cluster.find("Pod", where, f"{ours},{COMPONENT} in (worker,cron)")
        jobs = cluster.find("Job", where, f"{ours},{COMPONENT}=cron")
        busy.clear()
        busy.update(_shown(pod) for pod in pods if "running" in _states(pod))
        for line in sorted(busy - told):
            say(f"waiting for {line}")
        told.update(busy)
        # A run may begin in the moment in which it is taken away: the next look shows it.
        return not _take_away(cluster, where, jobs, pods) and not busy

    wait_until(
        f"workers and crons of {names.release} still run",
        are_idle,
        deadline_seconds=HOLD_SECONDS,
        poll_seconds=POLL_SECONDS,
        late=lambda _: DeadlineError(
            f"{', '.join(sorted(busy))} in {where} did not end in {HOLD_SECONDS} s, and the "
            "database must not be migrated under it",
            hint="wait for it, or delete it, and deploy again",
        ),
    )


def _states(pod: Object) -> set[str]:
    """Return what a pod's containers are, those of its start left out."""
    return {state for status in main_statuses(pod) for state in status.get("state", {})}


def _take_away(
    cluster: Cluster, where: str, jobs: Sequence[Object], pods: Sequence[Object]
) -> bool:
    """Delete the runs of crons that have neither begun nor ended; return whether there were any."""
    begun = {
        owner["uid"]
        for pod in pods
        if _states(pod) & {"running", "terminated"}
        for owner in owners_of(pod)
    }
    taken = False
    for job in jobs:
        if has_ended(job) or uid_of(job) in begun or is_being_deleted(job):
            continue
        cluster.delete("Job", job["metadata"]["name"], where, uid=uid_of(job))
        taken = True
    return taken


def _shown(pod: Object) -> str:
    """Return a pod's name, and the scheduled command's or the queue's where it has one."""
    labels = labels_of(pod)
    what = labels.get(f"{PREFIX}{labels.get(COMPONENT, '')}", "")
    return f"pod/{pod['metadata']['name']}" + (f" ({labels[COMPONENT]} {what})" if what else "")
