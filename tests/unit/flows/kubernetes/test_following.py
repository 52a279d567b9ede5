"""What a rollout follows in threads of its own: logs that break off, and a Helm that is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.kubernetes.transport import Stop
from tasks.core.errors import ClusterError, SuiteError
from tasks.core.kubernetes.manifests import DatabaseServer
from tasks.core.names import names
from tasks.flows.kubernetes.database import run_database_job
from tasks.flows.kubernetes.releases import _works
from tasks.flows.kubernetes.rollout_logs import RolloutLogs
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


class JobCluster:
    """Plays a database Job by steps: how it is then, and what each of its pods has written."""

    def __init__(self, *steps: tuple[dict[str, Any], dict[str, list[str]]]) -> None:
        self._steps = list(steps)

    def now(self) -> datetime:
        return datetime(2026, 11, 26, 8, tzinfo=UTC)

    def apply(self, manifest: Any) -> None:
        self.create(manifest)

    def create(self, manifest: Any) -> None:
        self._job = manifest

    def delete(self, *_: object) -> bool:
        return False

    def get(self, *_: object) -> Any:
        if len(self._steps) > 1:
            self._steps.pop(0)
        return {**self._job, "metadata": {"name": "j", "uid": "j"}, "status": self._steps[0][0]}

    def find(self, *_: object) -> Any:
        ran = {"name": "database", "state": {"running": {}}}
        owner = [{"uid": "j", "controller": True}]
        return [
            {
                "metadata": {"name": name, "uid": name, "ownerReferences": owner},
                "spec": {"restartPolicy": "Never"},
                "status": {"containerStatuses": [{**ran, "containerID": f"cri-o://{name}"}]},
            }
            for name in self._steps[0][1]
        ]

    def logs(self, _: str, pod: str, __: str, tail: int = 500) -> str:
        return "\n".join(line for line in self._steps[0][1][pod][-tail:] if line)

    def log_lines(self, _: str, pod: str, __: str, **___: object) -> Iterator[str]:
        if pod not in self._steps[0][1]:
            raise ClusterError("it is gone", status=404)
        for number, line in enumerate(self._steps[0][1][pod]):
            if line:
                yield f"2026-11-26T08:00:00.{number:09}Z {line}"


FAILED = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}
MANY = [f"line {number}" for number in range(700)]
TWICE = ["database: waiting", "database: waiting", "database: over"]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        # A pod that takes another one's place says the same as that one.
        ([{"a": TWICE}, {"a": TWICE, "b": TWICE[:1]}, {"a": TWICE, "b": TWICE}], TWICE * 2),
        ([{"a": TWICE}, {"b": TWICE}], TWICE * 2),
        # More than the end of a log.
        ([{"a": MANY[:300]}, {"a": MANY}], MANY),
        # A log that its node began anew.
        ([{"a": TWICE[:2]}, {"a": ["", "", *TWICE[2:]]}], TWICE),
    ],
)
def test_a_job_s_lines_are_told_once_each(
    monkeypatch: pytest.MonkeyPatch, steps: list[dict[str, list[str]]], said: list[str]
) -> None:
    monkeypatch.setattr("tasks.flows.kubernetes.database.POLL_SECONDS", 0.2)
    monkeypatch.setattr("tasks.flows.kubernetes.stream.AGAIN_SECONDS", 0.01)
    played: Any = JobCluster(({}, {}), *(({}, step) for step in steps), (FAILED, steps[-1]))
    server = DatabaseServer("db.example.com", 3306, "admin", "mautic-system", "mautic_")
    own = names("x", environment="dev", project="mautic", namespace="{slug}", host="{slug}.test")
    heard: list[str] = []

    with pytest.raises(SuiteError, match=f"the Job failed .* in mautic-system: {said[-1]}"):
        run_database_job(
            played, own, server, verb="create", image="i", wait_seconds=9, say=heard.append
        )
    assert sorted(heard) == sorted(said)


class Slow(set[tuple[str, str]]):
    """A set that lets other threads look between two steps of one."""

    def __contains__(self, item: object) -> bool:
        found = super().__contains__(item)
        time.sleep(0.05)
        return found


def test_what_replicas_cannot_tell_for_the_same_reason_is_told_once() -> None:
    def log_lines(*_: object, **__: object) -> Iterator[str]:
        raise ClusterError("the node does not answer", status=500)

    heard: list[str] = []
    played: Any = SimpleNamespace(log_lines=log_lines)
    activity: Any = SimpleNamespace(say=heard.append, panel=False, line=heard.append)
    logs = RolloutLogs(played, "n", activity)
    logs._told = Slow()
    state = {"running": {}}
    pods: list[Any] = [
        {
            "metadata": {"name": name, "uid": name},
            "status": {
                "initContainerStatuses": [{"name": "wait", "containerID": name, "state": state}]
            },
        }
        for name in "abcd"
    ]
    logs.look(pods, {})
    deadline = time.monotonic() + 10
    while not heard and time.monotonic() < deadline:
        time.sleep(0.05)
    logs.close()
    assert len(heard) == 1
