"""Waiting for the end of what is being deleted from a cluster, and naming what holds it up."""

from __future__ import annotations

import time

from tasks.adapters.cluster import Cluster
from tasks.adapters.kubeapi import Object
from tasks.core.errors import DeadlineError

WAIT_SECONDS = 300
POLL_SECONDS = 0.5


def wait_gone(
    cluster: Cluster, kind: str, name: str, namespace: str | None = None, *, uid: str = ""
) -> None:
    """Wait for the end of an object that is being deleted.

    Args:
        cluster: the cluster.
        kind: the object's kind.
        name: its name.
        namespace: its namespace.
        uid: its uid, where another one may take its name at once; by default whichever is there.

    Raises:
        DeadlineError: naming what holds it up.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while found := cluster.get(kind, name, namespace):
        uid = uid or found["metadata"]["uid"]
        if found["metadata"]["uid"] != uid:
            return
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"{kind.lower()}/{name} is not gone after {WAIT_SECONDS} s: {held_by(found)}",
                hint="run the same again: it goes on where this run stopped",
            )
        time.sleep(POLL_SECONDS)


def held_by(found: Object) -> str:
    """Return what an object that is being deleted waits for."""
    finalizers = [
        *(found["metadata"].get("finalizers") or []),
        *(found.get("spec", {}).get("finalizers") or []),
    ]
    # A namespace says which objects, and which finalizers of theirs, are left.
    messages = [
        condition["message"]
        for condition in found.get("status", {}).get("conditions", [])
        if condition["status"] == "True" and condition.get("message")
    ]
    return "; ".join(messages) or f"finalizers {', '.join(finalizers) or 'none'}"
