"""A branch's database and user, made and dropped by a Job in the platform namespace.

Neither this process nor the branch's pods ever see the administrator's password: only that
namespace has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from tasks.adapters.cluster import Cluster
from tasks.core.errors import DeadlineError, SuiteError
from tasks.core.manifests import (
    DATABASE_JOB_SECONDS,
    DatabaseServer,
    Object,
    database_job,
    database_secret,
)
from tasks.core.naming import Names
from tasks.core.rollout import Policy, judge
from tasks.core.snapshot import Snapshot

POLL_SECONDS = 0.5


def run_database_job(
    cluster: Cluster,
    names: Names,
    server: DatabaseServer,
    *,
    verb: Literal["create", "drop"],
    image: str,
    password: str = "",
    say: Callable[[str], None],
) -> None:
    """Make or drop a branch's database and user; both are no error when it is done already.

    Args:
        cluster: the cluster.
        names: the branch's names.
        server: the database server.
        verb: what to do.
        image: the mautic image, by digest.
        password: the branch's database password, for ``create``.
        say: told what the Job writes.

    Raises:
        SuiteError: the Job failed, its pod cannot start, or it did not end in time; the message
            names the cause.
    """
    job = database_job(names, server, image, verb)
    secret = database_secret(names, server, password)
    name = job["metadata"]["name"]
    # A Job that an earlier run left behind cannot be changed, only made anew.
    _remove(cluster, "Job", name, server.namespace)
    cluster.apply(secret)
    try:
        cluster.create(job)
        _wait(cluster, server.namespace, name)
        for line in _log(cluster, server.namespace, name).splitlines():
            say(line)
    finally:
        cluster.delete("Job", name, server.namespace)
        cluster.delete("Secret", secret["metadata"]["name"], server.namespace)


def _wait(cluster: Cluster, namespace: str, name: str) -> None:
    started = cluster.now()
    policy = Policy(deadline=timedelta(seconds=DATABASE_JOB_SECONDS + 30))
    while True:
        job = cluster.get("Job", name, namespace)
        snapshot = Snapshot(jobs=[job] if job else [], pods=_pods(cluster, namespace, name))
        verdict = judge(snapshot, started=started, now=cluster.now(), policy=policy)
        if verdict.done:
            return
        if verdict.cause:
            last = _log(cluster, namespace, name).strip().splitlines()[-1:]
            said = f": {last[0]}" if last else ""
            raise SuiteError(
                f"{verdict.cause.line()} in {namespace}{said}",
                hint="check `database` of the environment, and its administrator's Secret",
            )
        time.sleep(POLL_SECONDS)


def _pods(cluster: Cluster, namespace: str, job: str) -> list[Object]:
    return cluster.find("Pod", namespace, f"batch.kubernetes.io/job-name={job}")


def _log(cluster: Cluster, namespace: str, job: str) -> str:
    for pod in _pods(cluster, namespace, job):
        log = cluster.logs(namespace, pod["metadata"]["name"], "database")
        if log:
            return log
    return ""


def _remove(cluster: Cluster, kind: str, name: str, namespace: str) -> None:
    """Delete an object and wait until it is gone."""
    if not cluster.delete(kind, name, namespace):
        return
    deadline = time.monotonic() + 60
    while cluster.get(kind, name, namespace):
        if time.monotonic() > deadline:
            raise DeadlineError(f"{kind.lower()}/{name} in {namespace} is still being deleted")
        time.sleep(POLL_SECONDS)
