"""Lines of several logs, in the order in which they were written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)(?: |$)")
"""As the engine and the kubelet put it before a line: RFC 3339, of a node in its own time zone."""


@dataclass(frozen=True)
class LogLine:
    """A line of a log.

    Attributes:
        log: which one.
        stamp: when it was written, RFC 3339 in UTC without a zone; stamps are ordered as text.
            Empty if that is unknown.
        text: the line without its stamp.
    """

    log: str
    stamp: str
    text: str

    @classmethod
    def of(cls, log: str, line: str) -> LogLine:
        """Return a line that begins with a stamp, or one whose time is unknown."""
        found = _STAMP.match(line)
        if not found:
            return cls(log, "", line)
        second, fraction, zone = found[1], found[2] or "", found[3]
        if zone != "Z":
            moment = datetime.fromisoformat(f"{second}{zone}").astimezone(UTC)
            second = f"{moment:%Y-%m-%dT%H:%M:%S}"
        return cls(log, f"{second}{fraction}", line[found.end() :])


def time_of(stamp: str) -> datetime:
    """Return the time of a stamp."""
    return datetime.fromisoformat(f"{stamp}+00:00")


def in_order(lines: Iterable[LogLine]) -> list[LogLine]:
    """Return lines by time; one whose time is unknown stays behind the one before it in its log.

    Args:
        lines: each log's in its own order.
    """
    last: dict[str, str] = {}
    dated = []
    for line in lines:
        stamp = line.stamp or last.get(line.log, "")
        last[line.log] = stamp
        dated.append(replace(line, stamp=stamp))
    return sorted(dated, key=lambda line: line.stamp)


def ends(lines: Iterable[LogLine]) -> dict[str, str]:
    """Return the newest stamp of each log that has one."""
    found: dict[str, str] = {}
    for line in lines:
        if line.stamp:
            found[line.log] = max(line.stamp, found.get(line.log, ""))
    return found
