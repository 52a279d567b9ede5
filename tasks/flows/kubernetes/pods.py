"""How a release's pods are ended when nobody wants them any more."""

from __future__ import annotations

import time

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import POLL_SECONDS, WAIT_SECONDS
from tasks.core.errors import DeadlineError
from tasks.core.kubernetes.manifests import INSTANCE
from tasks.core.kubernetes.objects import Object, is_being_deleted
from tasks.core.kubernetes.removal import held_by, is_stuck, is_worth_a_word
from tasks.flows.target import Say

GRACE_SECONDS = 1
"""What a pod is given to end; the API takes 0 for "forget it, whether it has ended or not"."""
FORCE_SECONDS = 4.0
"""How long a node has to end a pod before the API forgets it: the node may be gone. Less than the
namespace rests: after that a CI job may not do it any more."""


def end_pod(cluster: Cluster, pod: Object, *, grace_seconds: int | None) -> None:
    """Ask for the end of a pod, and of none that has taken its name since.

    Args:
        cluster: the cluster.
        pod: the pod.
        grace_seconds: how long it may take to end; None for what it says itself.
    """
    meta = pod["metadata"]
    cluster.delete(
        "Pod", meta["name"], meta["namespace"], grace_seconds=grace_seconds, uid=meta["uid"]
    )


def end_pods(cluster: Cluster, release: str, namespace: str, say: Say) -> None:
    """Wait until none of a release's pods is left; what their nodes do not end is forgotten.

    Args:
        cluster: the cluster.
        release: the release's name.
        namespace: where it is.
        say: told what is waited for.

    Raises:
        DeadlineError: naming what holds it up.
    """
    began = time.monotonic()
    first_seen: dict[str, float] = {}
    forced: set[str] = set()
    told = ""
    while pods := cluster.find("Pod", namespace, f"{INSTANCE}={release}"):
        now = time.monotonic()
        lost: list[str] = []
        for pod in pods:
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            since = first_seen.setdefault(uid, now)
            if not is_being_deleted(pod) or _is_slow(pod):
                # Made meanwhile, or asked for by somebody who gives it its time.
                end_pod(cluster, pod, grace_seconds=GRACE_SECONDS)
            elif now - since > FORCE_SECONDS and uid not in forced:
                forced.add(uid)
                lost.append(f"pod/{name} (node {pod['spec'].get('nodeName')})")
                end_pod(cluster, pod, grace_seconds=0)
        if lost:
            words = (
                f"not ended by their nodes in {FORCE_SECONDS:.0f} s, so the cluster forgets them"
            )
            say(f"{words}: {', '.join(lost)}")
        more = f" and {len(pods) - 1} more" if len(pods) > 1 else ""
        held = f"pod/{pods[0]['metadata']['name']}{more}: {held_by(pods[0])}"
        if held != told and is_worth_a_word(held, waited=now - began):
            told = held
            say(f"waiting for the end of {held}")
        oldest = min(first_seen[pod["metadata"]["uid"]] for pod in pods)
        stuck = is_stuck(held, waited=now - began, still=now - oldest)
        # Somebody may make pods anew for as long as they are deleted.
        if stuck or now - began > WAIT_SECONDS:
            raise DeadlineError(
                f"not gone after {now - began:.0f} s: {held}",
                hint="see to what holds it, then run the same again: it goes on from here",
            )
        time.sleep(POLL_SECONDS)


def _is_slow(pod: Object) -> bool:
    """Return True if a pod that ends has been given more time than it needs here."""
    return int(pod["metadata"].get("deletionGracePeriodSeconds") or 0) > GRACE_SECONDS
