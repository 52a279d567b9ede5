"""One container's log as it is written, whatever happens to the connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.core.errors import ClusterError

AGAIN_SECONDS = 1.0
"""How long to wait before a log that broke off is asked for again."""
GONE = frozenset({400, 404})
"""What the API answers when there is no log: the container has not started, or the pod is gone."""


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
) -> Iterator[tuple[datetime, str]]:
    """Yield a container's lines with their time, again from where the log broke off.

    Args:
        tail: lines to begin with; None begins with the first one.
        stop: ends it.
        runs: says whether the container still runs; when it does not, the log's end is the end.
        on_error: told why the log cannot be read; it is asked for again.
    """
    last = ""
    while not stop.is_set():
        try:
            for line in cluster.log_lines(
                namespace, pod, container, tail=tail, since=_time(last), stop=stop
            ):
                stamp, _, text = line.partition(" ")
                # A line without a time is the node's own, on why the log breaks off here. And the
                # API counts from whole seconds: it repeats what came within one.
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
