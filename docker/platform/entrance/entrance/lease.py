"""The Lease of an environment, in the form of the suite's (tasks/adapters/kubernetes/lease.py).

It is held for single steps, each of some requests, and so it is not renewed. No I/O.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tasks.core.kubernetes.lease import NAME

Object = dict[str, Any]

OWN = "entrance "
"""What the entrance's holders begin with; the pod's name follows."""
HOLD_SECONDS = 10
"""How long a step may take, and how long the Lease of one that died lasts."""


def taken(lease: Object | None, namespace: str, me: str, now: datetime) -> Object:
    """Return a Lease as its new holder writes it.

    Args:
        lease: the Lease that there is, or None.
    """
    found = lease or {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": namespace},
    }
    before = found.get("spec") or {}
    # MicroTime: exactly six digits (apimachinery, meta/v1, micro_time.go)
    stamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        **before,
        "holderIdentity": me,
        "leaseDurationSeconds": HOLD_SECONDS,
        "acquireTime": stamp,
        "renewTime": stamp,
        "leaseTransitions": before.get("leaseTransitions", -1) + 1,
    }
    return {**found, "spec": spec}


def released(lease: Object) -> Object:
    """Return a Lease without its holder."""
    return {**lease, "spec": {**lease["spec"], "holderIdentity": ""}}
