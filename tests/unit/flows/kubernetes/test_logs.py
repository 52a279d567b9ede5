"""Which part of a container's log is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.flows.kubernetes.logs import show_logs
from tests.support.fakes import NAMES

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
POD = {
    "metadata": {"name": "web-1", "uid": "1", "labels": {"app.kubernetes.io/component": "web"}},
    "spec": {"containers": [{"name": "nginx"}]},
    "status": {"containerStatuses": [{"name": "nginx", "state": {"running": {}}}]},
}


@pytest.mark.parametrize(
    ("tail", "since", "query"),
    [
        (100, 0, {"tailLines": "100"}),
        (None, 600, {"sinceTime": "2026-11-27T11:50:00Z"}),
        (5, 86_400, {"tailLines": "5", "sinceTime": "2026-11-26T12:00:00Z"}),
    ],
)
def test_what_is_older_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tail: int | None, since: int, query: dict[str, str]
) -> None:
    asked: list[dict[str, str]] = []

    def attempt(request: Any) -> Any:
        asked.append(request.query)
        return SimpleNamespace(status=200, body=b"one\n")

    transport: Any = SimpleNamespace(attempt=attempt)
    cluster = Cluster()
    monkeypatch.setitem(vars(cluster), "_transport", transport)
    monkeypatch.setattr(cluster, "find", lambda *_: [POD])
    monkeypatch.setattr(cluster, "now", lambda: NOW)
    said: list[str] = []

    show_logs(cluster, NAMES, said.append, service="", follow=False, tail=tail, since_seconds=since)

    assert said == ["web-1 nginx | one"]
    assert asked == [{"container": "nginx", "previous": "false", **query}]
