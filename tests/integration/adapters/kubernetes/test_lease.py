"""The lock of a cluster's environments, against a real API server."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.adapters.identity import this_run
from tasks.adapters.kubernetes import lease
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.lease import LeaseLock
from tasks.core.errors import HeldError
from tasks.core.kubernetes.lease import holder_of

Object = dict[str, Any]
HERE = this_run("deploy")
ELSEWHERE = "ada@elsewhere (process 1)"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beat and look ten times as often."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.2)


@pytest.fixture
def said() -> list[str]:
    """What those who waited were told."""
    return []


@pytest.fixture
def lock(cluster: Cluster, namespace: str, said: list[str]) -> Callable[..., LeaseLock]:
    """Makes a lock."""

    def make(who: str = ELSEWHERE, committed: int = 0, wait: float = 1.0) -> LeaseLock:
        commit = f"{committed}".ljust(40, "0") if committed else ""
        me = replace(HERE, commit=commit, committed=committed, job=who)
        return LeaseLock(cluster, namespace, me, wait_seconds=wait, say=said.append)

    return make


@pytest.fixture
def stored(cluster: Cluster, namespace: str) -> Iterator[Callable[..., Object]]:
    """Returns the Lease, changed before if asked."""

    def find(**spec: Any) -> Object:
        if spec:
            cluster.patch("Lease", lease.NAME, namespace, {"spec": spec})
        found = cluster.get("Lease", lease.NAME, namespace)
        assert found
        return found

    yield find


def stamp(ago: float = 0) -> str:
    moment = datetime.now(UTC) - timedelta(seconds=ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_one_holds_it_and_then_nobody(lock: Any, stored: Any) -> None:
    with lock():
        assert stored()["spec"]["holderIdentity"] == ELSEWHERE
    assert not stored()["spec"].get("holderIdentity")
    with lock("bob"):
        assert stored()["spec"]["holderIdentity"] == "bob"
        assert stored()["spec"]["leaseTransitions"] == 1


def test_it_is_given_back_after_a_failure(lock: Any, stored: Any) -> None:
    with pytest.raises(ValueError, match="it broke"), lock():
        raise ValueError("it broke")
    assert not stored()["spec"].get("holderIdentity")


def test_its_holder_renews_it(lock: Any, stored: Any) -> None:
    with lock() as held:
        first = stored()["spec"]["renewTime"]
        time.sleep(1)
        assert stored()["spec"]["renewTime"] > first
        held.check()


def test_who_waits_too_long_is_told_who_holds_it(lock: Any, said: list[str]) -> None:
    with (
        lock(),
        pytest.raises(HeldError, match=f"is held by {ELSEWHERE[:3]}") as caught,
        lock("bob", wait=0.5),
    ):
        pass
    assert caught.value.exit_code == 4
    assert len(said) == 1
    assert f" is held by {ELSEWHERE} since " in said[0]


def test_one_that_is_not_renewed_is_taken_over(
    lock: Any, stored: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 60)
    with lock() as first:
        stored(renewTime=stamp(ago=lease.DURATION_SECONDS + 2))
        with lock("bob"):
            assert stored()["spec"]["holderIdentity"] == "bob"
        first.check()  # its heart has not beaten since: it cannot know yet
        assert said == [f"taking over from {ELSEWHERE}, who is gone"]


def test_who_lost_it_is_told_before_anything_is_changed(lock: Any, stored: Any) -> None:
    with lock() as held:
        stored(holderIdentity="bob")
        time.sleep(1)
        with pytest.raises(HeldError, match="was taken over by bob"):
            held.check()
    assert stored()["spec"]["holderIdentity"] == "bob"


def test_a_holder_of_this_machine_that_is_dead_is_not_waited_for(lock: Any, said: Any) -> None:
    dead = replace(HERE, pid=4194304, job="").identity  # above pid_max
    first = lock(dead)
    first.__enter__()
    try:
        with lock("bob", wait=0):
            assert said == [f"taking over from {dead}, who is gone"]
    finally:
        first.__exit__(None, None, None)


def test_a_holder_of_this_machine_that_is_another_users_is_waited_for(
    lock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(pid: int, signum: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", kill)
    there = replace(HERE, job="").identity
    with lock(there), pytest.raises(HeldError, match="is held by"), lock("bob", wait=0):
        pass


def test_whoever_has_no_name_can_wait_and_hold(
    cluster: Cluster, namespace: str, lock: Any, stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some images of CI jobs run under a uid that /etc/passwd does not know."""
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    for name in ("GITLAB_USER_LOGIN", "CI_JOB_URL", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    me = this_run("deploy")
    with lock(), pytest.raises(HeldError, match="is held by"):
        LeaseLock(cluster, namespace, me, wait_seconds=0, say=print).__enter__()
    with LeaseLock(cluster, namespace, me, wait_seconds=0, say=print):
        assert stored()["spec"]["holderIdentity"] == me.identity


def test_who_holds_it_is_told_by_the_clusters_clock(
    cluster: Cluster, lock: Any, stored: Any
) -> None:
    with lock():
        found, now = stored(), cluster.now()
        assert holder_of(found, now) == ELSEWHERE
        assert holder_of(found, now + timedelta(seconds=lease.DURATION_SECONDS + 2)) is None
    assert holder_of(stored(), cluster.now()) is None


def test_an_older_commit_steps_back_before_a_newer_one(lock: Any) -> None:
    with (
        lock(committed=20),
        pytest.raises(HeldError, match=r"^10000000 is superseded") as caught,
        lock("bob", committed=10),
    ):
        pass
    assert "20000000 is or will be deployed" in str(caught.value.hint)


def test_what_is_no_deploy_is_superseded_by_none(lock: Any, said: list[str]) -> None:
    with lock(committed=20), pytest.raises(HeldError, match="is held by"), lock("bob", wait=0.3):
        pass
    assert said


def test_an_older_commit_may_follow_a_newer_one_that_is_done(lock: Any, stored: Any) -> None:
    with lock(committed=20):
        pass
    with lock("bob", committed=10):
        assert stored()["spec"]["holderIdentity"] == "bob"
