"""Ending a release's pods: by request, and by force where their node does not answer."""

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
"""What a pod is given to end; the API takes 0 for "forget it, whether it has ended or not"."""
FORCE_SECONDS = 4.0
"""How long a node has to end a pod before the API forgets it: the node may be gone. Less than the
namespace rests: after that a CI job may not do it any more."""


def end_pod(cluster: Cluster, pod: Object, *, grace_seconds: int | None) -> None:
    """Ask for the end of a pod, and of none that has taken its name since.

    Args:
        grace_seconds: how long it may take to end; None for what it says itself.
    """
    meta = pod["metadata"]
    cluster.delete(
        "Pod", meta["name"], meta["namespace"], grace_seconds=grace_seconds, uid=meta["uid"]
    )


def end_pods(
    cluster: Cluster, release: str, namespace: str, say: Say, *, clock: Clock = CLOCK
) -> None:
    """Wait until none of a release's pods is left; what their nodes do not end is forgotten.

    Args:
        say: told what is waited for.

    Raises:
        DeadlineError: naming what holds it up.
    """
    end = _End(cluster, release, namespace, say, clock)
    wait_until(
        "not gone",
        end.has_come,
        # Somebody may make pods anew for as long as they are deleted.
        deadline_seconds=WAIT_SECONDS,
        poll_seconds=POLL_SECONDS,
        late=end.late,
        clock=clock,
    )


class _End:
    """The end of a release's pods, as far as it has come."""

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
        """Return True if no pod is left; else ask again for the end of those that need it.

        Raises:
            DeadlineError: waiting any longer serves nobody.
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
        """Return True if a pod's node does not end it; ask for the end of one that was not asked.

        That one was made meanwhile, or somebody who asked for its end gives it its time.
        """
        since = self._first_seen.setdefault(uid_of(pod), now)
        if not is_being_deleted(pod) or _is_slow(pod):
            end_pod(self._cluster, pod, grace_seconds=GRACE_SECONDS)
            return False
        return now - since > FORCE_SECONDS and uid_of(pod) not in self._forced

    def _force(self, lost: Sequence[Object]) -> None:
        """Let the API forget the pods that their nodes do not end."""
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
        """Return the error that names what holds the pods up."""
        return DeadlineError(
            f"{message}: {self._held}",
            hint="see to what holds it, then run the same again: it goes on from here",
        )


def _is_slow(pod: Object) -> bool:
    """Return True if a pod that ends has been given more time than it needs here."""
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0) > GRACE_SECONDS
