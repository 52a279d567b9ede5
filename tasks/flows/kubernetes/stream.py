"""Streams a container's log, and reconnects as needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.core.errors import ClusterError

AGAIN_SECONDS = 1.0
"""Pause before a broken log stream is opened again."""
GONE = frozenset({400, 404})
"""The API's statuses if there is no log: the container has not started, or the pod is gone."""


_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)\Z")


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
        after: the stamp of the last line that is known already; empty if none is.
    """
    last = after
    while not stop.is_set():
        try:
            for line in cluster.log_lines(
                namespace, pod, container, tail=tail, since=_time(last) or since, stop=stop
            ):
                stamp, _, text = line.partition(" ")
                # A line without a timestamp is the node's message on why the log breaks off. And
                # `sinceTime` has a resolution of seconds, so lines are repeated.
                if _STAMP.match(stamp) and stamp > last:
                    last = stamp
                    yield _time(stamp) or datetime.now(UTC), text
        except ClusterError as error:
            if error.status in GONE:
                return
            on_error(error)
        if not runs():
            return
        tail = None
        stop.wait(AGAIN_SECONDS)


def _time(stamp: str) -> datetime | None:
    return datetime.fromisoformat(stamp).astimezone(UTC) if stamp else None
