"""Quiesces what works on the database before a migration."""

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

QUIESCED = ("worker", "cron")
"""The components that work on the database by themselves."""
QUIESCE_SECONDS = 600
"""How long running scheduled commands may take to end."""
POLL_SECONDS = 0.1
_WORKS = f"{COMPONENT} in ({','.join(QUIESCED)})"


def quiesce(cluster: Cluster, names: Names, say: Callable[[str], None]) -> None:
    """Stop workers and crons, and wait until they are idle.

    The upgrade starts them again, as does the rollback.

    Args:
        say: called with what is waited for.

    Raises:
        DeadlineError: a command did not end in time.
    """
    where, ours = names.namespace, f"{INSTANCE}={names.release}"
    found = [
        (kind, item["metadata"]["name"], {"spec": spec})
        for kind, selector, spec in (
            ("CronJob", ours, {"suspend": True}),
            ("Deployment", f"{ours},{_WORKS}", {"replicas": 0}),
        )
        for item in cluster.find(kind, where, selector)
    ]
    map_parallel(lambda each: cluster.patch(each[0], each[1], where, each[2]), found)
    why = "and the database must not be migrated under it"
    wait_until_idle(cluster, names, say, why=why)


def wait_until_idle(
    cluster: Cluster, names: Names, say: Callable[[str], None], *, why: str
) -> None:
    """Wait until workers and crons that were stopped are idle.

    It only waits for running containers: a pod that has not started may be waiting for the coming
    migration, or for an image or a volume that never comes. Scheduled runs that have not started
    are deleted; the pods of workers are deleted with their Deployments.

    Args:
        say: called with what is waited for.
        why: what for, for the error.

    Raises:
        DeadlineError: a command did not end in time.
    """
    where, ours = names.namespace, f"{INSTANCE}={names.release}"
    busy: set[str] = set()
    told: set[str] = set()

    def are_idle() -> bool:
        pods = cluster.find("Pod", where, f"{ours},{_WORKS}")
        jobs = cluster.find("Job", where, f"{ours},{COMPONENT}=cron")
        busy.clear()
        busy.update(_shown(pod) for pod in pods if "running" in _states(pod))
        if new := sorted(busy - told):
            say(f"waiting for {', '.join(new)}")
        told.update(busy)
        # A run may start just when it is deleted: check again.
        return not _take_away(cluster, where, jobs, pods) and not busy

    wait_until(
        f"workers and crons of {names.release} still run",
        are_idle,
        deadline_seconds=QUIESCE_SECONDS,
        poll_seconds=POLL_SECONDS,
        late=lambda _: DeadlineError(
            f"{', '.join(sorted(busy))} in {where} did not end in {QUIESCE_SECONDS} s, {why}",
            hint="wait for it, or delete it, and run the same again",
        ),
    )


def _states(pod: Object) -> set[str]:
    """Return the states of a pod's containers, without init containers."""
    return {state for status in main_statuses(pod) for state in status.get("state", {})}


def _take_away(
    cluster: Cluster, where: str, jobs: Sequence[Object], pods: Sequence[Object]
) -> bool:
    """Delete cron runs that have not started; return True if there were any."""
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
    """Return a pod's name, with its scheduled command or queue if it has one."""
    labels = labels_of(pod)
    what = labels.get(f"{PREFIX}{labels.get(COMPONENT, '')}", "")
    return f"pod/{pod['metadata']['name']}" + (f" ({labels[COMPONENT]} {what})" if what else "")
