"""Deletes a release's pods; by force if their node does not answer."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import POLL_SECONDS, WAIT_SECONDS
from tasks.adapters.wait import CLOCK, Clock, wait_until
from tasks.core.errors import DeadlineError
from tasks.core.kubernetes.manifests import INSTANCE
from tasks.core.kubernetes.objects import Object, is_being_deleted, uid_of
from tasks.core.kubernetes.removal import blocker_of, is_stuck, is_worth_reporting
from tasks.flows.target import Say

GRACE_SECONDS = 1
"""A pod's grace period. Not 0, which means that the API removes the pod even if it still runs."""
FORCE_SECONDS = 4.0
"""How long a node has to end a pod before it is deleted by force: the node may be gone. It is less
than the namespace controller's delay, after which a CI job has no rights any more."""


def end_pod(cluster: Cluster, pod: Object, *, grace_seconds: int | None) -> None:
    """Delete a pod, but not a newer one of the same name.

    Args:
        grace_seconds: its grace period; None for its own.
    """
    meta = pod["metadata"]
    cluster.delete(
        "Pod", meta["name"], meta["namespace"], grace_seconds=grace_seconds, uid=meta["uid"]
    )


def end_pods(
    cluster: Cluster, release: str, namespace: str, say: Say, *, clock: Clock = CLOCK
) -> None:
    """Wait until all pods of a release are gone; delete those by force that their nodes do not end.

    Args:
        say: called with what is waited for.

    Raises:
        DeadlineError: a pod is not gone; the message names what blocks it.
    """
    end = _End(cluster, release, namespace, say, clock)
    wait_until(
        "not gone",
        end.has_come,
        # Somebody may keep creating pods while they are deleted.
        deadline_seconds=WAIT_SECONDS,
        poll_seconds=POLL_SECONDS,
        late=end.late,
        clock=clock,
    )


class _End:
    """Tracks the end of a release's pods."""

    def __init__(
        self, cluster: Cluster, release: str, namespace: str, say: Say, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._release = release
        self._namespace = namespace
        self._say = say
        self._clock = clock
        self._began = clock.monotonic()
        self._first_seen: dict[str, float] = {}
        self._forced: set[str] = set()
        self._held = self._told = ""

    def has_come(self) -> bool:
        """Return True if no pod is left; otherwise delete pods again if needed.

        Raises:
            DeadlineError: there is no progress, so waiting longer is useless.
        """
        pods = self._cluster.find("Pod", self._namespace, f"{INSTANCE}={self._release}")
        if not pods:
            return True
        now = self._clock.monotonic()
        self._force([pod for pod in pods if self._is_lost(pod, now)])
        more = f" and {len(pods) - 1} more" if len(pods) > 1 else ""
        self._held = held = f"pod/{pods[0]['metadata']['name']}{more}: {blocker_of(pods[0])}"
        waited = now - self._began
        if held != self._told and is_worth_reporting(held, waited=waited):
            self._told = held
            self._say(f"waiting for the end of {held}")
        still = now - min(self._first_seen[uid_of(pod)] for pod in pods)
        if is_stuck(held, waited=waited, still=still):
            raise self.late(f"not gone after {waited:.0f} s")
        return False

    def _is_lost(self, pod: Object, now: float) -> bool:
        """Return True if a pod's node does not end it; delete a pod that is not being deleted yet.

        Such a pod is new; or somebody has deleted it with a longer grace period.
        """
        since = self._first_seen.setdefault(uid_of(pod), now)
        if not is_being_deleted(pod) or _is_slow(pod):
            end_pod(self._cluster, pod, grace_seconds=GRACE_SECONDS)
            return False
        return now - since > FORCE_SECONDS and uid_of(pod) not in self._forced

    def _force(self, lost: Sequence[Object]) -> None:
        """Delete by force the pods that their nodes do not end."""
        for pod in lost:
            self._forced.add(uid_of(pod))
            end_pod(self._cluster, pod, grace_seconds=0)
        if lost:
            shown = ", ".join(
                f"pod/{pod['metadata']['name']} (node {pod['spec'].get('nodeName')})"
                for pod in lost
            )
            self._say(
                f"not ended by their nodes in {FORCE_SECONDS:.0f} s, so the cluster forgets them: "
                f"{shown}"
            )

    def late(self, message: str) -> DeadlineError:
        """Return the error that names what blocks the pods."""
        return DeadlineError(
            f"{message}: {self._held}",
            hint="see to what holds it, then run the same again: it goes on from here",
        )


def _is_slow(pod: Object) -> bool:
    """Return True if a terminating pod has a longer grace period than needed."""
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0) > GRACE_SECONDS
