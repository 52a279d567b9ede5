"""Lists objects, and watches them across lost connections."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.kubernetes.transport import WATCH_SECONDS, ApiRequest, Stop, Transport
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.objects import Object

PAGE = 500
ERROR_PAUSE_SECONDS = 0.5
"""How long to wait before listing again after a watch reported an error, usually 410 Gone."""
MIN_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 2.0
"""Pauses before an ended watch is opened again."""


@dataclass(frozen=True)
class WatchEvent:
    """An event of a watch.

    Attributes:
        type: ``ADDED``, ``MODIFIED``, ``DELETED``, or ``SYNCED`` after a new list.
        object: the object; for ``SYNCED`` the list, with its ``items``.
    """

    kind: str
    type: str
    object: Object


def watch(
    transport: Transport,
    kind: str,
    namespace: str | None,
    on_change: Callable[[WatchEvent], None],
    *,
    selector: str,
    stop: Stop,
) -> None:
    """List and then watch a kind until stopped; arguments and errors as for ``Cluster.watch``."""
    while not stop.is_set():
        query = {"labelSelector": selector, "limit": str(PAGE)}
        items, version = list_objects(transport, kind, namespace, query)
        whole = {"metadata": {"resourceVersion": version}, "items": items}
        on_change(WatchEvent(kind, "SYNCED", whole))
        for change in _follow(transport, kind, namespace, selector, version, stop):
            on_change(change)


def _follow(
    transport: Transport,
    kind: str,
    namespace: str | None,
    selector: str,
    version: str,
    stop: Stop,
) -> Iterator[WatchEvent]:
    """Yield changes since a version until the API no longer knows it (410) or is stopped."""
    path = KINDS[kind].path(namespace)
    pause = MIN_PAUSE_SECONDS
    while not stop.is_set():
        query = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        if selector:
            query["labelSelector"] = selector
        opened = time.monotonic()
        request = ApiRequest("GET", path, query, timeout=(5.0, WATCH_SECONDS + 5.0))
        try:
            for line in transport.lines(request, stop):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    stop.wait(ERROR_PAUSE_SECONDS)
                    return
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    yield WatchEvent(kind, event["type"], {**event["object"], "kind": kind})
        except ClusterError as error:
            if error.status != 410:
                raise
            return
        # The stream has ended by its timeout, or the connection was dropped.
        lived = time.monotonic() - opened > MAX_PAUSE_SECONDS
        pause = MIN_PAUSE_SECONDS if lived else min(pause * 2, MAX_PAUSE_SECONDS)
        stop.wait(pause)


def list_objects(
    transport: Transport,
    kind: str,
    namespace: str | None,
    options: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
) -> tuple[list[Object], str]:
    """Return all objects of a kind, read page by page, and the version of the list.

    Args:
        namespace: None for all namespaces.
        options: the query's parameters; empty ones are left out.

    Raises:
        ClusterError: the API refused, or stayed unreachable.
    """
    items: list[Object] = []
    query = {name: value for name, value in options.items() if value}
    while True:
        try:
            request = ApiRequest("GET", KINDS[kind].path(namespace), query, headers=headers or {})
            page = transport.json(request)
        except ClusterError as error:
            if error.status != 410 or "continue" not in query:
                raise
            # The list took so long that its continue token has expired: start again.
            items.clear()
            del query["continue"]
            continue
        # The items of a list have no kind, and an empty metadata-only list is null.
        items += ({**item, "kind": kind} for item in page["items"] or ())
        following = page["metadata"].get("continue")
        if not following:
            # Metrics have no version.
            return items, page["metadata"].get("resourceVersion", "")
        query["continue"] = following
