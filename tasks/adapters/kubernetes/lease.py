"""A Lease that lets one run at a time change an environment in a cluster.

The holder renews the Lease by a heartbeat; without it the Lease expires and may be taken over.
Waiting deploys record the newest commit in the Lease, so that it supersedes older ones: of ten
deploys started at once the newest one runs, and each of the others reports why it did not.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self

from tasks.adapters.identity import is_alive
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.wait import wait_until
from tasks.core.environment import Holder
from tasks.core.errors import (
    ClusterError,
    ConflictError,
    HeldError,
    VanishedError,
)
from tasks.core.kubernetes.lease import NAME, holder_of, time_in, unreadable
from tasks.core.kubernetes.objects import Object, annotations_of, is_being_deleted

PREFIX = "mautic-multidev.io/"
DURATION_SECONDS = 30
"""How long a Lease outlives its last renewal."""
RENEW_SECONDS = 5.0
POLL_SECONDS = 2.0


class LeaseLock:
    """Holds the Lease of one namespace, as a context manager.

    Args:
        namespace: the environment's namespace; it must exist.
        me: this run.
        wait_seconds: how long to wait for another holder.
        say: called with a message whenever something changes while waiting.

    Raises:
        HeldError: on entering, when the other holder did not finish in time, or when a newer
            commit has superseded this one.
        VanishedError: on entering, when the namespace has been removed.
        DeadlineError: on entering, when it is being removed, and something holds that up.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        me: Holder,
        *,
        wait_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._me = me
        self._wait_seconds = wait_seconds
        self._say = say
        self._stop = threading.Event()
        self._lost: str | None = None
        self._other = "nobody"
        self._heartbeat = threading.Thread(target=self._renew, daemon=True, name="lease")

    def __enter__(self) -> Self:
        began = self._cluster.now()
        wait_until(
            f"{self._namespace} is held",
            lambda: self._try_there(began) or self._tell_holder(),
            deadline_seconds=self._wait_seconds,
            poll_seconds=POLL_SECONDS,
            late=lambda _: HeldError(
                f"{self._namespace} is held by {self._other}",
                hint=f"waited {self._wait_seconds:.0f} s; run the same again when it is done",
            ),
        )
        self._heartbeat.start()
        return self

    def _tell_holder(self) -> Literal[False]:
        """Report who holds the Lease, once per holder."""
        lease = self._cluster.get("Lease", NAME, self._namespace)
        spec = lease["spec"] if lease else {}
        other = spec.get("holderIdentity")
        if other and other != self._other:
            since = spec.get("acquireTime", "")
            self._say(f"{self._namespace} is held by {other} since {since}; waiting for it")
            self._other = other
        return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._heartbeat.join()
        self._release()

    def _release(self) -> None:
        try:
            lease = self._cluster.get("Lease", NAME, self._namespace)
            if lease and lease["spec"].get("holderIdentity") == self._me.identity:
                lease["spec"]["holderIdentity"] = ""
                self._cluster.replace(lease)
        except ClusterError as failure:
            # Deleting a namespace deletes its Lease, and a CI job's right to read it.
            if failure.status not in {403, 404, 409}:
                raise

    def check(self) -> None:
        """Check that the Lease is still held, before anything is changed.

        Raises:
            HeldError: another run has taken it over.
        """
        if self._lost:
            raise HeldError(
                f"{self._namespace} was taken over by {self._lost}",
                hint="this run could not renew its Lease in time: look at the network, then at "
                "the other run",
            )

    def _try_there(self, began: datetime) -> bool:
        """Take the Lease if it is free, and if its namespace is not being deleted.

        In a terminating namespace nothing can be created, but an existing Lease could be taken.
        """
        try:
            taken = self._try(began)
        except ClusterError as error:
            if error.status in {403, 404} and self._is_going():
                raise self._vanished() from error
            raise
        if taken and self._is_going():
            self._release()
            raise self._vanished()
        return taken

    def _is_going(self) -> bool:
        found = self._cluster.get("Namespace", self._namespace)
        return found is None or is_being_deleted(found)

    def _vanished(self) -> VanishedError:
        """Wait until the namespace is gone, and return the error for that."""
        found = self._cluster.get("Namespace", self._namespace)
        if found and is_being_deleted(found):
            self._say(f"{self._namespace} is being removed; waiting for its end")
            uid = found["metadata"]["uid"]
            where = self._namespace
            wait_gone(self._cluster, "Namespace", where, uid=uid, say=self._say, patient=True)
        return VanishedError(
            f"{self._namespace} was removed meanwhile",
            hint="nothing was changed; run the same again if it is wanted still",
        )

    def _try(self, began: datetime) -> bool:
        """Take the Lease if it is free or its holder is gone; else queue up."""
        now = self._cluster.now()
        lease = self._cluster.get("Lease", NAME, self._namespace)
        try:
            if lease is None:
                self._cluster.create(self._taken(_empty(self._namespace), now))
                return True
            holder = holder_of(lease, now)
            if holder and _died_here(holder, self._me):
                holder = None
            if self._overtaken(lease, began, held=holder is not None):
                raise self._superseded(lease)
            if holder is None:
                if gone := lease["spec"].get("holderIdentity"):
                    self._say(f"taking over from {gone}, who is gone")
                self._cluster.replace(self._taken(lease, now))
                return True
            if self._me.committed > _number(lease, "newest-committed"):
                self._announce(lease, now)
                self._cluster.replace(lease)
        except ConflictError:
            pass  # somebody was faster: look again
        return False

    def _announce(self, lease: Object, now: datetime) -> None:
        """Record this commit as the newest one that is deployed or waits."""
        lease["metadata"]["annotations"] = {
            **annotations_of(lease),
            PREFIX + "newest-committed": str(self._me.committed),
            PREFIX + "newest-commit": self._me.commit,
            PREFIX + "newest-since": _stamp(now),
        }

    def _overtaken(self, lease: Object, began: datetime, *, held: bool) -> bool:
        """Return True if a newer commit is being deployed, or came in while this one waited.

        A newer commit that was deployed before this run began does not count: then the older one is
        deployed on purpose.
        """
        since = annotations_of(lease).get(PREFIX + "newest-since")
        return (
            bool(self._me.committed)
            and since is not None
            and (held or time_in(lease, since) >= began)
            and _number(lease, "newest-committed") > self._me.committed
        )

    def _superseded(self, lease: Object) -> HeldError:
        newer = deployed_by(lease)[:8]
        return HeldError(
            f"{self._me.commit[:8]} is superseded by the newer commit {newer}",
            hint=f"nothing was changed; {newer} is or will be deployed to {self._namespace}",
        )

    def _taken(self, lease: Object, now: datetime) -> Object:
        self._announce(lease, now)
        spec = lease["spec"]
        spec["holderIdentity"] = self._me.identity
        spec["leaseDurationSeconds"] = DURATION_SECONDS
        spec["acquireTime"] = spec["renewTime"] = _stamp(now)
        spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        return lease

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            try:
                lease = self._cluster.get("Lease", NAME, self._namespace)
                holder = lease["spec"].get("holderIdentity") if lease else None
                if lease is None or holder != self._me.identity:
                    self._lost = holder or "nobody (the Lease is gone)"
                    return
                lease["spec"]["renewTime"] = _stamp(self._cluster.now())
                self._cluster.replace(lease)
            except ClusterError:
                # The next heartbeat tries again, and notices if the Lease was lost.
                continue


def deployed_by(lease: Object) -> str:
    """Return the tag of the newest commit that a holder or a waiting run deploys; empty if none."""
    return annotations_of(lease).get(f"{PREFIX}newest-commit", "")


def _empty(namespace: str) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {},
    }


def _died_here(holder: str, me: Holder) -> bool:
    """Return True if a holder was a process of this user on this host that has ended."""
    process = re.fullmatch(re.escape(me.owner) + r" \(process ([0-9]+)\)", holder)
    return process is not None and not is_alive(int(process[1]))


def _number(lease: Object, key: str) -> int:
    text = annotations_of(lease).get(PREFIX + key) or "0"
    try:
        return int(text)
    except ValueError as error:
        raise unreadable(lease, f"its {key} {text!r} is no number") from error


def _stamp(moment: datetime) -> str:
    # MicroTime: exactly six digits (apimachinery, meta/v1, micro_time.go)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
