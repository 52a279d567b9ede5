"""Shows the logs of a rollout's containers: messages of waiting ones, and logs of failed ones.

Lines of containers that ``Follower`` follows are shown as they come; the log of any other container
that fails is fetched once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.terminal.console import Activity
from tasks.core.errors import ClusterError
from tasks.core.images.wait_messages import ContainerMessages, is_own, parse_message
from tasks.core.kubernetes.objects import (
    Object,
    container_statuses,
    is_running,
    latest_end,
    uid_of,
)
from tasks.flows.kubernetes.follow import ContainerRun, Follower

LOG_LINES = 20
"""How much of a failed container's log is shown; the diagnostics have more."""
FLUSH_SECONDS = 0.5
"""How long the verdict is delayed for log lines in transit."""
STEP_SECONDS = 5.0
"""After how long at one step a pipe gets a line about it."""


@dataclass
class _Telling:
    """The state of a followed container's output: what was shown, and what was not."""

    kept: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    """The last lines that were not shown."""
    step: str = ""
    """The program's newest line of its own, unless it was shown."""
    told: int = 0
    """How many lines were shown."""
    has_failed: bool = False


class RolloutLogs:
    """Shows the logs of containers.

    On a terminal every line of the images' own programs is printed, and other output is shown
    transiently. In a pipe only steps that take long are printed, and messages of programs that wait
    if the rollout fails. Of a container that fails everything is printed. Equal lines of replicas
    are printed once.

    Args:
        activity: shows the lines.
    """

    def __init__(self, cluster: Cluster, namespace: str, activity: Activity) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._activity = activity
        self._lock = threading.RLock()
        self._follower = Follower(cluster, namespace, self)
        self._tellings: defaultdict[ContainerRun, _Telling] = defaultdict(_Telling)
        self._failed: set[tuple[str, str, int]] = set()
        self._told: set[tuple[str, str]] = set()
        self._wanted: queue.SimpleQueue[tuple[str, str, bool] | None] = queue.SimpleQueue()
        self._fetcher = threading.Thread(target=self._fetch, daemon=True, name="logs")
        self._fetcher.start()

    def look(self, pods: Sequence[Object], homes: Mapping[str, str]) -> None:
        """Follow what has started since the last look, and show what has failed.

        Of replicas that fail alike, the log of the first one is shown.

        Args:
            pods: the pods of the newest revision.
            homes: the workload that each pod belongs to, by uid.
        """
        for pod in pods:
            self._follower.look(pod)
            home = homes.get(uid_of(pod), "")
            for name, count, running, run_id in _failed(pod):
                if (home, name, count) not in self._failed:
                    self._failed.add((home, name, count))
                    self._show(pod["metadata"]["name"], name, run_id, previous=running)
        self._tell_steps()

    def said(self) -> dict[tuple[str, str], ContainerMessages]:
        """Return the containers' messages so far, by pod uid and name."""
        return self._follower.said()

    def close(self) -> None:
        """Stop, after the last lines in transit."""
        self._wanted.put(None)
        with self._lock:
            failed = [run for run, telling in self._tellings.items() if telling.has_failed]
        began = time.monotonic()
        self._follower.flush(failed, FLUSH_SECONDS)
        self._fetcher.join(max(0.0, began + FLUSH_SECONDS - time.monotonic()))
        self._follower.close(FLUSH_SECONDS)

    # -- followed containers --------------------------------------------------------------------

    def take(self, run: ContainerRun, text: str) -> None:
        """Show a line, or keep it for a failure."""
        own, words = is_own(text), parse_message(text)
        with self._lock:
            telling, panel = self._tellings[run], self._activity.panel
            if telling.has_failed:
                self._say(run, text)
            elif words and not panel:
                self._once(run, text, (words.code, str(words.final)))
            elif words or (own and panel) or (run.is_init and not own and telling.told < LOG_LINES):
                self._once(run, text)
            else:
                telling.kept.append(text)
                telling.step = text if own else telling.step
                if panel:
                    self._activity.line(f"{run.container} | {text}")

    def miss(self, run: ContainerRun, error: ClusterError) -> None:
        """Show why a log cannot be read."""
        with self._lock:
            self._once(run, _missing(error))

    def _tell_steps(self) -> None:
        """Show the newest line of a program that has not written another one for long."""
        with self._lock:
            for run, telling in self._tellings.items():
                lasts = time.monotonic() - run.heard > STEP_SECONDS
                if telling.step and lasts and not run.is_over and not telling.has_failed:
                    self._once(run, telling.step)
                    telling.step = ""

    def _once(self, run: ContainerRun, text: str, what: tuple[str, str] | None = None) -> None:
        """Show a line, unless the same line or message was shown."""
        what = what or (run.container, text)
        if what not in self._told:
            self._told.add(what)
            self._tellings[run].told += 1
            self._say(run, text)

    def _say(self, run: ContainerRun, text: str) -> None:
        words = parse_message(text)
        # That a program waits is told by what the rollout waits for.
        tell = self._activity.note if words and not words.final else self._activity.say
        tell(f"pod/{run.pod} {run.container} | {text}")

    # -- failed containers ----------------------------------------------------------------------

    def _show(self, pod: str, container: str, run_id: str, *, previous: bool) -> None:
        """Show the end of a failed container's log."""
        run = self._follower.find(run_id)
        if run is None:
            self._wanted.put((pod, container, previous))
            return
        with self._lock:
            telling = self._tellings[run]
            telling.has_failed = True
            for text in telling.kept:
                if (container, text) not in self._told:
                    self._say(run, text)
            telling.kept.clear()

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
    return f"its log cannot be read: {error.message}"


def _failed(pod: Object) -> Iterator[tuple[str, int, bool, str]]:
    """Yield failed containers: name, number of the run, whether it runs again, the failed id."""
    for container in container_statuses(pod):
        ended, running = latest_end(container), is_running(container)
        if ended.get("exitCode"):
            number = container.get("restartCount", 0) - running
            yield container["name"], number, running, ended.get("containerID", "")
