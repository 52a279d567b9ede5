"""What a rollout follows in threads of its own: logs that break off, and a Helm that is ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.kubeapi import Stop
from tasks.core.errors import ClusterError
from tasks.flows.kubernetes.releases import _works
from tasks.flows.kubernetes.stream import stream
from tasks.flows.kubernetes.upgrade import _Running


def test_a_node_s_own_words_in_a_log_end_nothing() -> None:
    answers = iter(
        [
            ["2026-11-26T08:00:00.000000001Z one", "rpc error: code = NotFound desc = gone"],
            ["2026-11-26T08:00:00.000000001Z one", "2026-11-26T08:00:00.000000002Z two"],
        ]
    )
    runs = iter([True, False])

    def log_lines(*_: object, **__: object) -> Iterator[str]:
        yield from next(answers)

    cluster: Any = SimpleNamespace(log_lines=log_lines)
    lines = stream(
        cluster, "n", "p", "c", tail=None, stop=Stop(), runs=lambda: next(runs), on_error=print
    )
    assert [text for _, text in lines] == ["one", "two"]


def test_a_helm_that_is_given_up_before_it_has_started_is_ended_when_it_does() -> None:
    go, ended = threading.Event(), threading.Event()

    def run(started: Callable[[Callable[[], None]], None]) -> None:
        assert go.wait(30)
        started(ended.set)
        ended.wait(5)

    running = _Running(run)
    running.start()
    threading.Timer(0.1, go.set).start()
    running.end()
    assert ended.is_set()


def test_a_helm_that_fails_for_any_reason_has_applied_nothing() -> None:
    def run(_: object) -> None:
        raise OSError("no such chart")

    running = _Running(run)
    running.start()
    running.end()
    assert isinstance(running.error, OSError)


@pytest.mark.parametrize("state", [{"running": {}}, {"waiting": {}}])
def test_what_runs_on_a_node_that_is_away_is_taken_for_work(state: dict[str, Any]) -> None:
    def logs(*_: object, **__: object) -> str:
        raise ClusterError("the node does not answer", status=500)

    cluster: Any = SimpleNamespace(logs=logs)
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "status": {"containerStatuses": [{"name": "migrate", "state": state}]},
    }
    assert _works(cluster, pod) is ("running" in state)
