"""A branch's database and user, made and dropped by a Job in the platform namespace.

Neither this process nor the branch's pods ever see the administrator's password: only that
namespace has it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.kubernetes.transport import Stop
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.manifests import (
    DATABASE_JOB_SECONDS,
    JOB_NAME,
    DatabaseServer,
    database_job,
    database_secret,
)
from tasks.core.kubernetes.objects import Object, main_statuses, uid_of
from tasks.core.kubernetes.rollout import Policy, judge
from tasks.core.kubernetes.snapshot import Snapshot
from tasks.core.names import Names
from tasks.flows.kubernetes.stream import stream

POLL_SECONDS = 0.5
FLUSH_SECONDS = 2.0
"""How long the verdict waits for lines that are under way."""
MARGIN_SECONDS = 30
"""How much longer than the Job itself its end is waited for."""
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
    """Make or drop a branch's database and user; both are no error when it is done already.

    Args:
        cluster: the cluster.
        names: the branch's names.
        server: the database server.
        verb: what to do.
        image: the mautic image, by digest.
        password: the branch's database password, for ``create``.
        wait_seconds: how long to wait for a server that cannot be reached, or for a pod that
            cannot start, where that may heal.
        say: told what the Job writes, as it does.

    Raises:
        SuiteError: the Job failed, its pod cannot start, or it did not end in time; the message
            names the cause.
    """
    job = database_job(names, server, image, verb, wait_seconds)
    secret = database_secret(names, server, password)
    name = job["metadata"]["name"]
    # A Job that an earlier run left behind cannot be changed, only made anew.
    if cluster.delete("Job", name, server.namespace):
        wait_gone(cluster, "Job", name, server.namespace, say=say)
    cluster.apply(secret)
    try:
        cluster.create(job)
        _Run(cluster, server.namespace, name, wait_seconds, say).wait(HINTS[verb])
    finally:
        cluster.delete("Job", name, server.namespace)
        cluster.delete("Secret", secret["metadata"]["name"], server.namespace)


class _Run:
    """One run of the Job: waits for its end, and passes on its words as they come."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        wait_seconds: int,
        say: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._say = say
        self._said: list[str] = []
        self._lock = threading.Lock()
        self._stop = Stop()
        self._is_over = False
        self._threads: dict[str, threading.Thread] = {}
        self._policy = Policy(
            grace=timedelta(seconds=wait_seconds),
            deadline=timedelta(seconds=wait_seconds + DATABASE_JOB_SECONDS + MARGIN_SECONDS),
        )

    def wait(self, hint: str) -> None:
        """Return when the Job has succeeded; errors as for ``run_database_job``, with a hint."""
        started = self._cluster.now()
        try:
            while True:
                job = self._cluster.get("Job", self._name, self._namespace)
                pods = self._pods()
                verdict = judge(
                    Snapshot(jobs=[job] if job else [], pods=pods),
                    started=started,
                    now=self._cluster.now(),
                    policy=self._policy,
                )
                self._follow(pods)
                if verdict.done:
                    return
                if verdict.cause:
                    self._flush()
                    last = f": {self._said[-1]}" if self._said else ""
                    raise SuiteError(
                        f"{verdict.cause.line()} in {self._namespace}{last}",
                        hint=hint,
                    )
                time.sleep(POLL_SECONDS)
        finally:
            self._flush()
            self._stop.set()

    def _pods(self) -> list[Object]:
        selector = f"{JOB_NAME}={self._name}"
        return self._cluster.find("Pod", self._namespace, selector)

    def _follow(self, pods: list[Object]) -> None:
        """Tell what each pod of the Job writes, from a thread for each that has started."""
        for pod in pods:
            uid, containers = uid_of(pod), main_statuses(pod)
            if uid not in self._threads and any(one.get("containerID") for one in containers):
                self._threads[uid] = threading.Thread(
                    target=self._read, args=(pod["metadata"]["name"],), daemon=True
                )
                self._threads[uid].start()

    def _read(self, pod: str) -> None:
        for _, line in stream(
            self._cluster,
            self._namespace,
            pod,
            "database",
            tail=None,
            stop=self._stop,
            runs=lambda: not self._is_over,
            # Its node is busy or away; the API still knows how it ends.
            on_error=lambda error: None,
        ):
            with self._lock:
                self._said.append(line)
                self._say(line)

    def _flush(self) -> None:
        """Wait for the lines that are under way."""
        self._is_over = True
        deadline = time.monotonic() + FLUSH_SECONDS
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))
