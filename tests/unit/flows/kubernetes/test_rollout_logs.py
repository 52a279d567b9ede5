"""What the containers of a rollout say, or cannot say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from tasks.core.errors import ClusterError
from tasks.flows.kubernetes.rollout_logs import RolloutLogs


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
