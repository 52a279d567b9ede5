"""Lines of several logs, in the order in which they were written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z(?: |$)")
"""As the engine and the kubelet put it before a line, RFC 3339 in UTC."""


@dataclass(frozen=True)
class LogLine:
    """A line of a log.

    Attributes:
        log: which one.
        stamp: when it was written; stamps are ordered as text. Empty if that is unknown.
        text: the line without its stamp.
    """

    log: str
    stamp: str
    text: str

    @classmethod
    def of(cls, log: str, line: str) -> LogLine:
        """Return a line that begins with a stamp, or one whose time is unknown."""
        found = _STAMP.match(line)
        return cls(log, found[1], line[found.end() :]) if found else cls(log, "", line)


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
