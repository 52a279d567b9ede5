"""Spans of time for a person, in one unit: 3d, 5h."""

from __future__ import annotations

from datetime import datetime, timedelta

from tasks.core.environment import parse_moment


def since(moment: str, now: datetime) -> str:
    """Return how long ago something was, in one unit; `-` if unknown."""
    return _span(now - parse_moment(moment)) if moment else "-"


def until(moment: str, now: datetime) -> str:
    """Return the time until something, in one unit; `-` for never."""
    if not moment:
        return "-"
    left = parse_moment(moment) - now
    return _span(left) if left > timedelta() else "expired"


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
