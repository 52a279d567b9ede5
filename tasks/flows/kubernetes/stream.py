"""Streams a container's log, and reconnects as needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.core.errors import ClusterError
from tasks.core.log_order import LogLine, time_of

AGAIN_SECONDS = 1.0
"""Pause before a broken log stream is opened again."""
GONE = frozenset({400, 404})
"""The API's statuses if there is no log: the container has not started, or the pod is gone."""


def stream(
    cluster: Cluster,
    namespace: str,
    pod: str,
    container: str,
    *,
    tail: int | None,
    stop: Stop,
    runs: Callable[[], bool],
    on_error: Callable[[ClusterError], None],
    since: datetime | None = None,
    after: str = "",
) -> Iterator[tuple[datetime, str]]:
    """Yield a container's lines with their time; continue after a broken connection.

    Args:
        tail: number of lines to start with; None for all.
        stop: ends the stream.
        runs: returns whether the container still runs; if not, the log is complete at its end.
        on_error: called with errors of requests, which are retried.
        since: leave out what is older; None for nothing.
        after: the stamp (``LogLine``) of the last line that is known already; empty if none is.
    """
    last = after
    while not stop.is_set():
        try:
            for line in cluster.log_lines(
                *(namespace, pod, container),
                tail=tail,
                since=time_of(last) if last else since,
                stop=stop,
            ):
                said = LogLine.of(container, line)
                # A line without a timestamp is the node's message on why the log breaks off. And
                # `sinceTime` has a resolution of seconds, so lines are repeated.
                if said.stamp > last:
                    last = said.stamp
                    yield time_of(last), said.text
        except ClusterError as error:
            if error.status in GONE:
                return
            on_error(error)
        if not runs():
            return
        tail = None
        stop.wait(AGAIN_SECONDS)
