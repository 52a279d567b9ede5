"""What a scanner finds in images, and which of it holds up a deploy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

SEVERITIES = ("critical", "high", "medium", "low", "informational", "undefined")
"""From the worst down. ``undefined`` is what nobody has rated yet."""

Threshold = Literal["critical", "high", "medium", "low", "none"]

IGNORED = r"^(\S+) until ([0-9]{4}-[0-9]{2}-[0-9]{2}): (\S.*)$"
"""How a finding that is to be ignored is written."""


@dataclass(frozen=True)
class Vulnerability:
    """One vulnerability of one package in one image.

    Attributes:
        id: mostly a CVE's number.
        severity: one of ``SEVERITIES``.
        fixed: the version in which it is fixed; empty if there is none, or none is known.
    """

    image: str
    id: str
    severity: str
    package: str = ""
    version: str = ""
    fixed: str = ""
    url: str = ""


@dataclass(frozen=True)
class IgnoredFinding:
    """A finding that holds up no deploy for a while.

    Attributes:
        until: the last day.
        reason: why it can wait.
    """

    id: str
    until: date
    reason: str


@dataclass(frozen=True)
class JudgedFinding:
    """A finding, and whether it holds up a deploy.

    Attributes:
        note: why it does not although it is severe enough; or that it is ignored no longer.
    """

    finding: Vulnerability
    blocks: bool
    note: str = ""

    def row(self) -> tuple[str, ...]:
        """Return it as a row of a table."""
        one = self.finding
        return (one.severity, one.image, one.package, one.version, one.fixed, one.id, self.note)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {**vars(self.finding), "blocks": self.blocks, "note": self.note}


def parse_ignored(text: str) -> IgnoredFinding:
    """Return a finding to ignore, from a setting.

    Raises:
        ValueError: its day is none.
    """
    found = re.fullmatch(IGNORED, text)
    if found is None:
        raise ValueError(f"{text!r} is no finding with a day and a reason")
    return IgnoredFinding(found[1], date.fromisoformat(found[2]), found[3])


def judge(
    findings: Iterable[Vulnerability],
    *,
    threshold: Threshold,
    ignored: Sequence[IgnoredFinding],
    today: date,
) -> list[JudgedFinding]:
    """Return findings of a severity or above, the worst first, with what is to be done of them.

    Args:
        findings: what was found.
        threshold: the least severity that holds up a deploy; ``none`` for no such one.
        ignored: those that can wait.
        today: the day in UTC.
    """
    rank = {name: number for number, name in enumerate(SEVERITIES)}
    judged = []
    for one in findings:
        # What AWS may call severities in future is unknown, and so no reason to look away.
        place = rank.get(one.severity, 0)
        if threshold == "none" or place > rank[threshold]:
            continue
        matching = [each for each in ignored if each.id == one.id]
        match = max(matching, key=lambda each: each.until, default=None)
        if match is None:
            judged.append(JudgedFinding(one, blocks=True))
        elif today <= match.until:
            note = f"ignored until {match.until}: {match.reason}"
            judged.append(JudgedFinding(one, blocks=False, note=note))
        else:
            judged.append(JudgedFinding(one, blocks=True, note=f"ignored until {match.until} only"))
    return sorted(
        judged,
        key=lambda each: (
            not each.blocks,
            rank.get(each.finding.severity, 0),
            each.finding.image,
            each.finding.package,
            each.finding.id,
        ),
    )
