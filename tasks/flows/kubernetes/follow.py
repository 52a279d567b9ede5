"""What the containers of a rollout say: of those that wait as they say it, of those that fail all.

A migration's container and every init container that runs are followed, each from a thread of its
own; the log of anything else that fails is fetched once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.terminal.console import Activity
from tasks.core.errors import ClusterError
from tasks.core.images.wait_messages import Said, is_own, read
from tasks.core.kubernetes.objects import (
    Object,
    container_spec,
    container_statuses,
    init_statuses,
    is_running,
    latest_end,
    main_statuses,
    uid_of,
)
from tasks.core.kubernetes.snapshot import is_by_job
from tasks.flows.kubernetes.stream import stream

LOG_LINES = 20
"""How much of a failed container's log is shown; the evidence holds more."""
FLUSH_SECONDS = 0.5
"""How long the verdict waits for log lines that are under way."""
STEP_SECONDS = 5.0
"""How long a program may be at one step before a pipe is told which it is."""
AT_ONCE = 32
"""How many containers are followed at the same time."""


@dataclass
class _Run:
    """One run of a container that is followed."""

    pod: str
    container: str
    is_init: bool
    thread: threading.Thread
    said: Said = field(default_factory=Said)
    kept: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    """The last lines, as far as they were not told."""
    step: str = ""
    """The newest line of the program's own, as long as it was not told."""
    heard: float = 0.0
    """When it said something last."""
    told: int = 0
    is_over: bool = False
    has_failed: bool = False


class Logs:
    """Tells what containers say.

    On a terminal every line of a program's own is told and its other output shown in passing; in
    a pipe only what is waited for, once whoever waits for it, and the step that takes long. Of
    one that fails all is told. What replicas say alike is told once.

    Args:
        cluster: the cluster.
        namespace: the release's namespace.
        activity: told the lines.
    """

    def __init__(self, cluster: Cluster, namespace: str, activity: Activity) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._activity = activity
        self._lock = threading.RLock()
        self._stop = Stop()
        self._runs: dict[str, _Run] = {}
        self._last: dict[tuple[str, str], _Run] = {}
        self._failed: set[tuple[str, str, int]] = set()
        self._told: set[tuple[str, str]] = set()
        self._wanted: queue.SimpleQueue[tuple[str, str, bool] | None] = queue.SimpleQueue()
        self._fetcher = threading.Thread(target=self._fetch, daemon=True, name="logs")
        self._fetcher.start()

    def look(self, pods: Sequence[Object], homes: Mapping[str, str]) -> None:
        """Follow what has started since the last look, and show what has failed.

        Of replicas that fail alike, the log of the first one is shown.

        Args:
            pods: the pods that count.
            homes: the workload that each pod belongs to, by uid.
        """
        for pod in pods:
            self._follow(pod)
            home = homes.get(uid_of(pod), "")
            for name, count, running, run in _failed(pod):
                if (home, name, count) not in self._failed:
                    self._failed.add((home, name, count))
                    self._show(pod["metadata"]["name"], name, run, previous=running)
        self._tell_steps()

    def said(self) -> dict[tuple[str, str], Said]:
        """Return what containers have said so far, by pod uid and name."""
        with self._lock:
            return {key: run.said for key, run in self._last.items()}

    def close(self) -> None:
        """End, after the lines that are under way."""
        deadline = time.monotonic() + FLUSH_SECONDS
        self._wanted.put(None)
        runs = list(self._runs.values())
        for thread in (*(run.thread for run in runs if run.has_failed), self._fetcher):
            thread.join(max(0.0, deadline - time.monotonic()))
        self._stop.set()
        deadline = time.monotonic() + FLUSH_SECONDS
        for run in runs:
            run.thread.join(max(0.0, deadline - time.monotonic()))

    # -- those that are followed ----------------------------------------------------------------

    def _follow(self, pod: Object) -> None:
        """Follow the containers of a pod that are worth it, each run once."""
        for container, is_init in _followed(pod):
            run_id, state = container["containerID"], container.get("state", {})
            known, is_over = self._runs.get(run_id), "running" not in state
            if known:
                known.is_over = known.is_over or is_over
                continue
            if is_init and state.get("terminated", {}).get("exitCode") == 0:
                continue
            if sum(run.thread.is_alive() for run in self._runs.values()) >= AT_ONCE:
                continue
            thread = threading.Thread(
                target=self._read, args=(run_id,), daemon=True, name=f"log {run_id[-8:]}"
            )
            with self._lock:
                run = _Run(pod["metadata"]["name"], container["name"], is_init, thread)
                run.is_over = is_over
                self._runs[run_id] = run
                self._last[uid_of(pod), container["name"]] = run
            thread.start()

    def _read(self, run_id: str) -> None:
        run = self._runs[run_id]
        for when, text in stream(
            self._cluster,
            self._namespace,
            run.pod,
            run.container,
            tail=None,
            stop=self._stop,
            runs=lambda: not run.is_over,
            on_error=lambda error: self._miss(run, error),
        ):
            with self._lock:
                run.said = run.said.then(text, when)
                run.heard = time.monotonic()
                self._take(run, text)

    def _miss(self, run: _Run, error: ClusterError) -> None:
        with self._lock:
            self._once(run, _missing(error))

    def _take(self, run: _Run, text: str) -> None:
        """Tell a line, or keep it."""
        own, words = is_own(text), read(text)
        if run.has_failed:
            self._say(run, text)
        elif words and not self._activity.panel:
            self._once(run, text, (words.code, str(words.final)))
        elif (
            words
            or (own and self._activity.panel)
            or (run.is_init and not own and run.told < LOG_LINES)
        ):
            self._once(run, text)
        else:
            run.kept.append(text)
            run.step = text if own else run.step
            if self._activity.panel:
                self._activity.line(f"{run.container} | {text}")

    def _tell_steps(self) -> None:
        """Tell the newest line of a program that has been at it for long."""
        with self._lock:
            for run in self._runs.values():
                since = time.monotonic() - run.heard
                if run.step and since > STEP_SECONDS and not run.is_over and not run.has_failed:
                    self._once(run, run.step)
                    run.step = ""

    def _once(self, run: _Run, text: str, what: tuple[str, str] | None = None) -> None:
        """Tell a line unless it, or what is said by it, was told."""
        what = what or (run.container, text)
        if what not in self._told:
            self._told.add(what)
            run.told += 1
            self._say(run, text)

    def _say(self, run: _Run, text: str) -> None:
        self._activity.say(f"pod/{run.pod} {run.container} | {text}")

    # -- those that failed ----------------------------------------------------------------------

    def _show(self, pod: str, container: str, run_id: str, *, previous: bool) -> None:
        """Show the end of a failed container's log."""
        with self._lock:
            run = self._runs.get(run_id)
            if run:
                run.has_failed = True
                for text in run.kept:
                    if (container, text) not in self._told:
                        self._say(run, text)
                run.kept.clear()
                return
        self._wanted.put((pod, container, previous))

    def _fetch(self) -> None:
        while wanted := self._wanted.get():
            pod, container, previous = wanted
            try:
                log = self._cluster.logs(
                    self._namespace, pod, container, previous=previous, tail=LOG_LINES
                )
            except ClusterError as error:
                log = _missing(error)
            for line in (log or "").splitlines():
                self._activity.say(f"pod/{pod} {container} | {line}")


def _missing(error: ClusterError) -> str:
    return f"its log cannot be had: {error.message}"


def _followed(pod: Object) -> Iterator[tuple[Object, bool]]:
    """Yield the containers worth following, and whether each is an init container."""
    for container in init_statuses(pod):
        is_sidecar = container_spec(pod, container["name"]).get("restartPolicy") == "Always"
        if container.get("containerID") and not is_sidecar:
            yield container, True
    for container in main_statuses(pod):
        if container.get("containerID") and is_by_job(pod):
            yield container, False


def _failed(pod: Object) -> Iterator[tuple[str, int, bool, str]]:
    """Yield the containers that failed: name, which time it was, whether it runs again, its id."""
    for container in container_statuses(pod):
        ended, running = latest_end(container), is_running(container)
        if ended.get("exitCode"):
            number = container.get("restartCount", 0) - running
            yield container["name"], number, running, ended.get("containerID", "")
