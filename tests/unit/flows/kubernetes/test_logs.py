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


def a_pod(number: int) -> dict[str, Any]:
    """Return a pod of web."""
    name = f"web-{number}"
    labels = {"app.kubernetes.io/component": "web"}
    running = {"name": "nginx", "containerID": f"x://{number}", "state": {"running": {}}}
    return {
        "metadata": {"name": name, "uid": str(number), "labels": labels},
        "spec": {"containers": [{"name": "nginx"}]},
        "status": {"containerStatuses": [running]},
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
    monkeypatch.setattr(cluster, "find", lambda *_: [a_pod(1)])
    monkeypatch.setattr(cluster, "now", lambda: NOW)
    said: list[str] = []

    show_logs(cluster, NAMES, said.append, service="", follow=False, tail=tail, since_seconds=since)

    assert said == ["web-1 nginx | one"]
    always = {"container": "nginx", "previous": "false", "timestamps": "true"}
    assert asked == [{**always, **query}]


def test_lines_of_several_pods_come_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = {
        "web-1": b"2026-11-27T11:00:01.000000000Z one\n2026-11-27T11:00:03.000000000Z three\n",
        "web-2": b"2026-11-27T11:00:02.000000000Z two\nsaid by the node\n",
    }

    def attempt(request: Any) -> Any:
        (body,) = (logs[name] for name in logs if f"/{name}/" in request.path)
        return SimpleNamespace(status=200, body=body)

    transport: Any = SimpleNamespace(attempt=attempt)
    cluster = Cluster()
    monkeypatch.setitem(vars(cluster), "_transport", transport)
    monkeypatch.setattr(cluster, "find", lambda *_: [a_pod(1), a_pod(2)])
    said: list[str] = []
    show_logs(cluster, NAMES, said.append, service="", follow=False, tail=None, since_seconds=0)
    assert said == [
        "web-1 nginx | one",
        "web-2 nginx | two",
        "web-2 nginx | said by the node",
        "web-1 nginx | three",
    ]
