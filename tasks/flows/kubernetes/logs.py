"""Shows the logs of a branch's containers: what there is by time, then lines as they come."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.kubernetes.watch import WatchEvent
from tasks.core.display import plain
from tasks.core.log_order import LogLine, ends, in_order
from tasks.core.names import Names
from tasks.flows.kubernetes.services import (
    ServiceContainer,
    check_service,
    selector,
    service_containers,
)
from tasks.flows.kubernetes.stream import stream

AT_ONCE = 8
BACKLOG = 1000
"""Maximum of buffered lines; a slow reader slows the streams down instead of using memory."""


def show_logs(
    cluster: Cluster,
    names: Names,
    on_line: Callable[[str], None],
    *,
    service: str,
    follow: bool,
    tail: int | None,
    since_seconds: int,
) -> None:
    """Pass on the logs of a branch's containers, each line with its pod and container.

    Args:
        on_line: called with each line, from this thread.
        service: only this one, or an empty string for all.
        follow: go on until interrupted, including containers that start meanwhile.
        tail: lines per container to begin with; None for all.
        since_seconds: how old a line may be; 0 for any age.

    Raises:
        InputError: there is no such service.
        ClusterError: the API refused, or stayed away.
    """
    pods = cluster.find("Pod", names.namespace, selector(names))
    chosen = service_containers(pods, service)
    if service and not chosen:
        check_service(cluster, names, service)
    since = cluster.now() - timedelta(seconds=since_seconds) if since_seconds else None
    known: dict[str, str] = {}
    if tail != 0:

        def fetch(place: ServiceContainer) -> list[LogLine]:
            log = cluster.logs(
                *(names.namespace, place.pod, place.container), tail=tail, since=since, stamped=True
            )
            return [LogLine.of(place.id, line) for line in (log or "").splitlines()]

        titles = {place.id: place for place in chosen}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            written = [line for log in pool.map(fetch, chosen) for line in log]
        for line in in_order(written):
            on_line(_shown(titles[line.log], line.text))
        known = ends(written)
    if follow:
        follower = _Follower(cluster, names, service, since, known, from_now=tail == 0)
        follower.run(on_line)


def _shown(place: ServiceContainer, line: str) -> str:
    return f"{place} | {plain(line)}"


class _Follower:
    """Follows the logs of all containers, including those that start meanwhile.

    Args:
        since: what is older is left out; None leaves out nothing.
        known: the stamp of the last line that was shown of each container, by its id.
        from_now: whether what the containers have written so far is left out.
    """

    def __init__(
        self,
        cluster: Cluster,
        names: Names,
        service: str,
        since: datetime | None,
        known: Mapping[str, str],
        *,
        from_now: bool,
    ) -> None:
        self._cluster = cluster
        self._names = names
        self._service = service
        self._from_now = from_now
        self._since = since
        self._ends = known
        self._stop = Stop()
        self._lines: queue.Queue[str | Exception] = queue.Queue(BACKLOG)
        self._known: set[str] = set()
        self._running: set[str] = set()
        self._is_first = True

    def run(self, on_line: Callable[[str], None]) -> None:
        """Pass lines on until interrupted.

        Raises:
            Exception: the error that ended the watch of the pods.
        """
        threading.Thread(target=self._watch, daemon=True, name="watch pods").start()
        try:
            while True:
                line = self._lines.get()
                if isinstance(line, Exception):
                    raise line
                on_line(line)
        finally:
            self._stop.set()

    def _watch(self) -> None:
        where, ours = self._names.namespace, selector(self._names)
        try:
            self._cluster.watch("Pod", where, self._take, selector=ours, stop=self._stop)
        except Exception as error:  # raised again in the thread that reads
            self._lines.put(error)

    def _take(self, change: WatchEvent) -> None:
        pods = change.object["items"] if change.type == "SYNCED" else [change.object]
        for place in service_containers(pods, self._service):
            self._running.discard(place.id)
            if place.running and change.type != "DELETED":
                self._running.add(place.id)
            if place.id and place.id not in self._known:
                self._known.add(place.id)
                # A container that has started since then is shown from its first line.
                tail = 0 if self._is_first and self._from_now else None
                args = (place, tail)
                threading.Thread(target=self._read, args=args, daemon=True, name="log").start()
        self._is_first = False

    def _read(self, place: ServiceContainer, tail: int | None) -> None:
        """Read one container's log to its end, and reconnect if it breaks off."""
        for _, text in stream(
            self._cluster,
            self._names.namespace,
            place.pod,
            place.container,
            tail=tail,
            since=self._since,
            after=self._ends.get(place.id, ""),
            stop=self._stop,
            runs=lambda: place.id in self._running,
            on_error=lambda error: self._lines.put(
                _shown(place, f"its log cannot be read: {error.message}")
            ),
        ):
            self._lines.put(_shown(place, text))
