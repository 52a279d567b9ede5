"""What the database Job writes while it is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.core.errors import ClusterError, SuiteError
from tasks.core.kubernetes.manifests import DatabaseServer
from tasks.core.names import names
from tasks.flows.kubernetes.database import run_database_job


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
