"""Creates and drops a branch's database and user, by a Job in the platform namespace.

Neither this process nor the branch's pods ever see the administrator's password, which is only in
that namespace.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.wait import wait_until
from tasks.core.errors import ClusterError, SuiteError
from tasks.core.kubernetes.manifests import (
    DATABASE_JOB_SECONDS,
    JOB_NAME,
    DatabaseServer,
    database_job,
    database_secret,
)
from tasks.core.kubernetes.objects import Object
from tasks.core.kubernetes.rollout import Policy, Verdict, judge
from tasks.core.kubernetes.snapshot import Snapshot
from tasks.core.names import Names
from tasks.flows.kubernetes.follow import ContainerRun, Follower

POLL_SECONDS = 0.5
FLUSH_SECONDS = 2.0
"""How long the verdict is delayed for log lines in transit."""
MARGIN_SECONDS = 30
"""How much longer than the Job's own deadline this run waits for it."""
DROP_WAIT_SECONDS = 10
"""How long a clean-up waits for a server that cannot be reached, or a pod that cannot start."""

_CHECK = "check `database` of the environment, and its administrator's Secret"
HINTS = {
    "create": f"{_CHECK}; then run the same again",
    "drop": f"{_CHECK}; where the server is gone for good, run the same without `database` in the "
    "settings",
}


def run_database_job(
    cluster: Cluster,
    names: Names,
    server: DatabaseServer,
    *,
    verb: Literal["create", "drop"],
    image: str,
    password: str = "",
    wait_seconds: int,
    say: Callable[[str], None],
) -> None:
    """Create or drop a branch's database and user; both are idempotent.

    Args:
        image: the mautic image, by digest.
        password: the branch's database password, for ``create``.
        wait_seconds: how long to wait for a server that cannot be reached, or for a pod that cannot
            start, if that may heal.
        say: called with each line of the Job's log.

    Raises:
        SuiteError: the Job failed, its pod cannot start, or it did not end in time; the message
            names the cause.
    """
    job = database_job(names, server, image, verb, wait_seconds)
    secret = database_secret(names, server, password)
    name = job["metadata"]["name"]
    # An earlier run's Job cannot be changed, only replaced.
    if cluster.delete("Job", name, server.namespace):
        wait_gone(cluster, "Job", name, server.namespace, say=say)
    cluster.apply(secret)
    try:
        cluster.create(job)
        wait_for_job(cluster, job, wait_seconds, say, HINTS[verb])
    finally:
        cluster.delete("Job", name, server.namespace)
        cluster.delete("Secret", secret["metadata"]["name"], server.namespace)


class _Lines:
    """Passes on the lines of the Job's log, and keeps the last one."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self.last = ""

    def take(self, _: ContainerRun, text: str) -> None:
        """Pass on a line."""
        with self._lock:
            self.last = text
            self._say(text)

    def miss(self, _: ContainerRun, error: ClusterError) -> None:
        """Ignore that its node is busy or unreachable: the API still knows how the Job ends."""


def wait_for_job(
    cluster: Cluster, job: Object, wait_seconds: int, say: Callable[[str], None], hint: str
) -> None:
    """Return when a Job has succeeded; errors as for ``run_database_job``, with a hint."""
    name, namespace = job["metadata"]["name"], job["metadata"]["namespace"]
    policy = Policy(
        grace=timedelta(seconds=wait_seconds),
        deadline=timedelta(seconds=wait_seconds + DATABASE_JOB_SECONDS + MARGIN_SECONDS),
    )
    started, lines = cluster.now(), _Lines(say)
    follower = Follower(cluster, namespace, lines)
    verdict = Verdict(done=False, cause=None, rows=())

    def has_ended() -> bool:
        nonlocal verdict
        found = cluster.get("Job", name, namespace)
        pods = cluster.find("Pod", namespace, f"{JOB_NAME}={name}")
        snapshot = Snapshot(jobs=[found] if found else [], pods=pods)
        verdict = judge(snapshot, started=started, now=cluster.now(), policy=policy)
        for pod in pods:
            follower.look(pod)
        return verdict.done or verdict.cause is not None

    try:
        wait_until(
            f"job/{name} in {namespace} has not ended",
            has_ended,
            # Longer than the policy's deadline, whose judgement names a better cause.
            deadline_seconds=2 * (wait_seconds + MARGIN_SECONDS) + DATABASE_JOB_SECONDS,
            poll_seconds=POLL_SECONDS,
        )
    finally:
        follower.flush(follower.runs, FLUSH_SECONDS)
        follower.close(0)
    if verdict.cause:
        last = f": {lines.last}" if lines.last else ""
        raise SuiteError(f"{verdict.cause.line()} in {namespace}{last}", hint=hint)
