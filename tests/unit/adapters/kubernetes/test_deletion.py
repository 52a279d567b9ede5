"""The end of an object: waited for, told, and given up on when nothing moves."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.adapters.kubernetes.deletion import WAIT_SECONDS, wait_gone
from tasks.core.errors import DeadlineError
from tasks.core.kubernetes.removal import STUCK_SECONDS, TELL_SECONDS
from tests.support.clock import PlayedClock


class Claim:
    """A cluster with one claim that is being deleted, as it is from second to second."""

    def __init__(self, played: PlayedClock, *, gone_after: float, moves: bool = False) -> None:
        self._played = played
        self._gone_after = gone_after
        self._moves = moves
        self.uid = "old"

    def get(self, *_: object) -> dict[str, Any] | None:
        if self._played.passed >= self._gone_after:
            return None
        name = f"kubernetes.io/step-{self._played.passed:.0f}" if self._moves else "example.com/x"
        return {
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "media", "uid": self.uid, "finalizers": [name]},
        }


def end(cluster: Any, played: PlayedClock, said: list[str], **options: Any) -> None:
    wait_gone(
        cluster,
        "PersistentVolumeClaim",
        "media",
        "n",
        say=said.append,
        clock=played.clock,
        **options,
    )


def test_what_is_gone_is_not_waited_for() -> None:
    played, said = PlayedClock(), list[str]()
    end(Claim(played, gone_after=0), played, said)
    assert (played.slept, said) == ([], [])


def test_what_takes_long_is_told_once() -> None:
    played, said = PlayedClock(), list[str]()
    end(Claim(played, gone_after=TELL_SECONDS + 5), played, said)
    assert said == ["waiting for the end of persistentvolumeclaim/media: finalizer example.com/x"]


def test_another_one_of_that_name_is_not_waited_for() -> None:
    played, said = PlayedClock(), list[str]()
    end(Claim(played, gone_after=99), played, said, uid="another")
    assert played.slept == []


def test_what_does_not_move_is_given_up_and_named() -> None:
    played = PlayedClock()
    held = r"^persistentvolumeclaim/media is not gone after 15 s: finalizer example\.com/x$"
    with pytest.raises(DeadlineError, match=held) as caught:
        end(Claim(played, gone_after=999), played, [])
    assert STUCK_SECONDS < played.passed < STUCK_SECONDS + 1
    assert "run the same again" in (caught.value.hint or "")


@pytest.mark.parametrize("options", [{"patient": True}, {}], ids=["patient", "it moves"])
def test_nothing_is_waited_for_longer_than_the_deadline(options: dict[str, Any]) -> None:
    played = PlayedClock()
    claim = Claim(played, gone_after=999, moves=not options)
    with pytest.raises(DeadlineError, match=f"is not gone after {WAIT_SECONDS} s: finalizer"):
        end(claim, played, [], **options)
    assert played.passed == WAIT_SECONDS


class DeadGroup:
    """A cluster with a namespace that cannot go: its controller cannot list an API group.

    Args:
        seen_after: seconds until the controller says so.
        healed_after: seconds until the group answers again.
    """

    def __init__(
        self,
        played: PlayedClock,
        *,
        group: str = "metrics.k8s.io/v1beta1",
        seen_after: float = 5,
        healed_after: float = 999,
    ) -> None:
        self._played = played
        self._group = group
        self._seen_after = seen_after
        self._healed_after = healed_after

    def get(self, *_: object) -> dict[str, Any] | None:
        passed = self._played.passed
        if passed >= self._healed_after + 10:
            return None
        dead = self._seen_after <= passed < self._healed_after
        said = f"Discovery failed for some groups, 1 failing: {self._group}: stale"
        left = f"Some resources are remaining: pods. has {500 - passed:.0f} resource instances"
        conditions = [
            {"type": "NamespaceContentRemaining", "status": "True", "message": left},
            {"type": "NamespaceDeletionDiscoveryFailure", "status": str(dead), "message": said},
        ]
        metadata = {"name": "n", "uid": "old"}
        return {"kind": "Namespace", "metadata": metadata, "status": {"conditions": conditions}}

    def find(self, *_: object, **__: object) -> list[dict[str, Any]]:
        return []


def end_of_namespace(cluster: Any, played: PlayedClock, said: list[str], **options: Any) -> None:
    wait_gone(cluster, "Namespace", "n", say=said.append, clock=played.clock, **options)


@pytest.mark.parametrize("patient", [False, True])
@pytest.mark.parametrize("group", ["metrics.k8s.io/v1beta1", "dead.example.com/v1"])
def test_an_api_group_that_is_dead_ends_the_wait_whatever_else_moves(
    group: str, patient: bool
) -> None:
    played = PlayedClock()
    with pytest.raises(DeadlineError, match=group) as caught:
        end_of_namespace(DeadGroup(played, group=group), played, [], patient=patient)
    assert STUCK_SECONDS < played.passed < STUCK_SECONDS + 1
    assert "kubectl get apiservices" in (caught.value.hint or "")


def test_an_api_group_that_is_dead_is_named_as_soon_as_it_is_known() -> None:
    played, said = PlayedClock(), list[str]()
    with pytest.raises(DeadlineError):
        end_of_namespace(DeadGroup(played, seen_after=0), played, said)
    assert "metrics.k8s.io/v1beta1" in said[0]


def test_an_api_group_that_is_back_soon_ends_no_wait() -> None:
    played = PlayedClock()
    end_of_namespace(DeadGroup(played, seen_after=20, healed_after=24), played, [])
    assert played.passed > 30
