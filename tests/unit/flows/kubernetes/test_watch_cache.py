"""What is known of a release when lists and changes come in an order of their own."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.kubernetes.watch import WatchEvent
from tasks.flows.kubernetes.watch_cache import LABELLED, UNLABELLED, WatchCache

Object = dict[str, Any]
SINCE = datetime(2026, 11, 26, 8, tzinfo=UTC)


class Played:
    """A cluster whose watches say what a test says, when it says it."""

    def __init__(self) -> None:
        self.told: dict[str, Callable[[WatchEvent], None]] = {}
        self.found: dict[str, list[Object]] = {}
        self._ready = threading.Semaphore(0)

    def watch(
        self,
        kind: str,
        _: str,
        on_change: Callable[[WatchEvent], None],
        *,
        selector: str,
        stop: Stop,
    ) -> None:
        self.told[kind] = on_change
        self._ready.release()
        stop.wait()

    def find(self, kind: str, *_: str) -> list[Object]:
        return self.found.get(kind, [])

    def all_watched(self) -> None:
        for _ in (*LABELLED, *UNLABELLED):
            assert self._ready.acquire(timeout=10)


def job(version: int, name: str = "migrate") -> Object:
    stamps = {"creationTimestamp": "2026-11-26T08:00:01Z", "resourceVersion": str(version)}
    return {"kind": "Job", "metadata": {"name": name, "uid": name, **stamps}}


def a_list(version: int, *items: Object) -> WatchEvent:
    metadata = {"resourceVersion": str(version)}
    return WatchEvent("Job", "SYNCED", {"metadata": metadata, "items": list(items)})


def change(kind: str, item: Object) -> WatchEvent:
    return WatchEvent("Job", kind, item)


ORDERS: dict[str, tuple[list[WatchEvent | list[Object]], list[tuple[str, int]]]] = {
    "a list older than what was asked for": (
        [a_list(1, job(1)), [job(5)], a_list(3, job(2))],
        [("migrate", 5)],
    ),
    "a list older than what is new": (
        [a_list(1), [job(5)], a_list(3)],
        [("migrate", 5)],
    ),
    "a list that is newer": ([a_list(1, job(1)), [job(5)], a_list(7, job(6))], [("migrate", 6)]),
    "a list without what is gone": ([a_list(1, job(1)), [job(5)], a_list(7)], []),
    "a question answered before the end": (
        [a_list(1, job(1)), change("DELETED", job(6)), [job(5)]],
        [],
    ),
    "a question answered before a list without it": (
        [a_list(1, job(1)), a_list(7), [job(5)]],
        [],
    ),
    "one whose labels went and came back": (
        [a_list(1, job(1)), change("DELETED", job(6)), change("ADDED", job(7))],
        [("migrate", 7)],
    ),
    "one of the same name": (
        [a_list(1, job(1)), change("DELETED", job(6)), change("ADDED", job(8, "again")), [job(5)]],
        [("again", 8)],
    ),
}


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_newest_is_kept_in_whatever_order_it_comes(order: str) -> None:
    steps, known = ORDERS[order]
    played: Any = Played()
    with WatchCache(played, "n", "release", SINCE) as cache:
        played.all_watched()
        for kind in itertools.chain(LABELLED, UNLABELLED):
            empty = {"metadata": {"resourceVersion": "0"}, "items": []}
            played.told[kind](WatchEvent(kind, "SYNCED", empty))
        for step in steps:
            if isinstance(step, WatchEvent):
                played.told["Job"](step)
            else:
                played.found["Job"] = step
                cache.catch_up()
        jobs = cache.snapshot(applied=True).jobs
    found = [(each["metadata"]["name"], int(each["metadata"]["resourceVersion"])) for each in jobs]
    assert found == known
