"""Reads the Lease by which one run at a time changes an environment in a cluster."""

from __future__ import annotations

from datetime import datetime, timedelta

from tasks.core.environment import parse_moment
from tasks.core.errors import UnreadableError
from tasks.core.kubernetes.objects import Object

NAME = "mautic-multidev"


def holder_of(lease: Object, now: datetime) -> str | None:
    """Return the holder of a Lease; None if it has none, or if it has expired.

    Args:
        now: the time by the cluster's clock; this machine's may differ.

    Raises:
        UnreadableError: the time of its renewal is none.
    """
    spec = lease.get("spec") or {}
    renewed = spec.get("renewTime")
    if not renewed:
        return None
    lasts = timedelta(seconds=spec.get("leaseDurationSeconds", 0))
    return spec.get("holderIdentity") or None if now - time_in(lease, renewed) <= lasts else None


def time_in(lease: Object, stamp: str) -> datetime:
    """Return a time of a Lease; the API takes years that Python has not, and any annotation."""
    try:
        return parse_moment(stamp)
    except UnreadableError as error:
        raise unreadable(lease, error.message) from error


def unreadable(lease: Object, why: str) -> UnreadableError:
    """Return the error for a Lease that is damaged."""
    namespace = lease["metadata"].get("namespace", "")
    return UnreadableError(
        f"the Lease of {namespace} cannot be read: {why}",
        hint=f"while nobody deploys to it, remove it: kubectl -n {namespace} delete lease {NAME}",
    )
