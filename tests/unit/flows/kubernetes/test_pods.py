"""Pods that nobody wants any more: asked, then forgotten, and never waited for without end."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.adapters.kubernetes.deletion import WAIT_SECONDS
from tasks.core.errors import DeadlineError
from tasks.flows.kubernetes.pods import FORCE_SECONDS, end_pods
from tests.support.clock import PlayedClock


class Pods:
    """A cluster with pods, each a name with what is asked of it until it ends."""

    def __init__(self, played: PlayedClock, *, ends_by_force: bool = True, anew: bool = False):
        self._played = played
        self._ends_by_force = ends_by_force
        self._anew = anew
        self._number = 0
        self.asked: list[tuple[str, int | None, float]] = []
        self._pods = [self._pod()]

    def _pod(self) -> dict[str, Any]:
        self._number += 1
        meta = {"name": f"web-{self._number}", "namespace": "n", "uid": str(self._number)}
        return {"kind": "Pod", "metadata": meta, "spec": {"nodeName": "node-1"}}

    def find(self, *_: object) -> list[dict[str, Any]]:
        return list(self._pods)

    def delete(self, _: str, name: str, *__: object, grace_seconds: int | None, uid: str) -> bool:
        self.asked.append((name, grace_seconds, self._played.passed))
        (pod,) = (each for each in self._pods if each["metadata"]["uid"] == uid)
        pod["metadata"] |= {
            "deletionTimestamp": "2026-11-26T08:00:00Z",
            "deletionGracePeriodSeconds": grace_seconds,
        }
        if (grace_seconds == 0 and self._ends_by_force) or self._anew:
            self._pods = [self._pod()] if self._anew else []
        return True


def test_a_pod_that_its_node_does_not_end_is_forgotten() -> None:
    played, said = PlayedClock(), list[str]()
    pods: Any = Pods(played)
    end_pods(pods, "release", "n", said.append, clock=played.clock)
    (first, second) = pods.asked
    assert first == ("web-1", 1, 0.0)
    assert second[:2] == ("web-1", 0)
    assert FORCE_SECONDS < second[2] < FORCE_SECONDS + 1
    assert said[-1] == (
        "not ended by their nodes in 4 s, so the cluster forgets them: pod/web-1 (node node-1)"
    )


def test_what_is_not_even_forgotten_is_named() -> None:
    played = PlayedClock()
    pods: Any = Pods(played, ends_by_force=False)
    with pytest.raises(DeadlineError, match=r"^not gone after 15 s: pod/web-1: node node-1"):
        end_pods(pods, "release", "n", lambda _: None, clock=played.clock)
    assert [grace for _, grace, _ in pods.asked] == [1, 0]


def test_pods_that_somebody_makes_anew_end_the_wait_at_its_deadline() -> None:
    played = PlayedClock()
    pods: Any = Pods(played, anew=True)
    with pytest.raises(DeadlineError, match=f"^not gone after {WAIT_SECONDS} s: pod/web-"):
        end_pods(pods, "release", "n", lambda _: None, clock=played.clock)
    assert played.passed == WAIT_SECONDS
