"""Follows the logs of containers while they start or work, each run in its own thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.core.errors import ClusterError
from tasks.core.images.wait_messages import ContainerMessages
from tasks.core.kubernetes.objects import (
    Object,
    container_spec,
    init_statuses,
    is_running,
    main_statuses,
    uid_of,
)
from tasks.core.kubernetes.snapshot import is_by_job
from tasks.flows.kubernetes.stream import stream

AT_ONCE = 32
"""How many containers are followed at the same time."""


@dataclass(eq=False)
class ContainerRun:
    """One run of a container that is followed."""

    pod: str
    container: str
    is_init: bool
    said: ContainerMessages = field(default_factory=ContainerMessages)
    heard: float = 0.0
    """When its last line came."""
    is_over: bool = False
    """Whether it has ended, so that its log is complete at its end."""


class LogListener(Protocol):
    """Handles what containers write, in the threads that follow them."""

    def take(self, run: ContainerRun, text: str) -> None:
        """Handle a line."""

    def miss(self, run: ContainerRun, error: ClusterError) -> None:
        """Handle an error while reading a log, which is retried."""


class Follower:
    """Follows a migration's container, a Job's, and every init container that runs.

    Args:
        namespace: where the containers are.
        listener: told each line.
    """

    def __init__(self, cluster: Cluster, namespace: str, listener: LogListener) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._listener = listener
        self._lock = threading.Lock()
        self._stop = Stop()
        self._runs: dict[str, ContainerRun] = {}
        self._threads: dict[ContainerRun, threading.Thread] = {}
        self._last: dict[tuple[str, str], ContainerRun] = {}

    @property
    def runs(self) -> list[ContainerRun]:
        """What was followed so far."""
        return list(self._runs.values())

    def find(self, run_id: str) -> ContainerRun | None:
        """Return the run with a container's id, if it was followed."""
        return self._runs.get(run_id)

    def said(self) -> dict[tuple[str, str], ContainerMessages]:
        """Return the containers' messages so far, by pod uid and name."""
        with self._lock:
            return {key: run.said for key, run in self._last.items()}

    def look(self, pod: Object) -> None:
        """Follow containers of a pod that have started since the last call, and note ended ones."""
        for container, is_init in _followed(pod):
            run_id, state = container["containerID"], container.get("state", {})
            is_over = not is_running(container)
            if known := self._runs.get(run_id):
                known.is_over = known.is_over or is_over
                continue
            if is_init and state.get("terminated", {}).get("exitCode") == 0:
                continue
            if sum(thread.is_alive() for thread in self._threads.values()) >= AT_ONCE:
                continue
            run = ContainerRun(pod["metadata"]["name"], container["name"], is_init, is_over=is_over)
            thread = threading.Thread(
                target=self._read, args=(run,), daemon=True, name=f"log {run_id[-8:]}"
            )
            with self._lock:
                self._runs[run_id] = run
                self._threads[run] = thread
                self._last[uid_of(pod), container["name"]] = run
            thread.start()

    def _read(self, run: ContainerRun) -> None:
        for when, text in stream(
            self._cluster,
            self._namespace,
            run.pod,
            run.container,
            tail=None,
            stop=self._stop,
            runs=lambda: not run.is_over,
            on_error=partial(self._listener.miss, run),
        ):
            with self._lock:
                run.said = run.said.then(text, when)
                run.heard = time.monotonic()
            self._listener.take(run, text)

    def flush(self, runs: Iterable[ContainerRun], seconds: float) -> None:
        """Wait for the last lines of ended runs, for so many seconds at most."""
        deadline = time.monotonic() + seconds
        for run in runs:
            run.is_over = True
            self._threads[run].join(max(0.0, deadline - time.monotonic()))

    def close(self, seconds: float) -> None:
        """Stop following, and wait for the threads, for so many seconds at most."""
        self._stop.set()
        self.flush(self.runs, seconds)


def _followed(pod: Object) -> Iterator[tuple[Object, bool]]:
    """Yield the containers worth following, and whether each is an init container."""
    for container in init_statuses(pod):
        is_sidecar = container_spec(pod, container["name"]).get("restartPolicy") == "Always"
        if container.get("containerID") and not is_sidecar:
            yield container, True
    for container in main_statuses(pod):
        if container.get("containerID") and is_by_job(pod):
            yield container, False
