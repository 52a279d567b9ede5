"""The results of scheduled commands that run in one container, for `inv status`.

They are statuses without an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from tasks.core.spans import since, until
from tasks.flows.target import ServiceStatus

STATUS = ("mautic", "cron", "status")
"""The command that prints them, in the scheduler's container."""

_UNKNOWN = "unknown"
_MISSED = " missed"
_WELL = frozenset({"", "ok", "running"})
"""The results of a command that has no trouble; empty before its first run."""

COLUMNS = ("scheduled", "when", "result", "runs")


class _Told(BaseModel):
    """One command, as docker/mautic/php/cron.php tells of it: an image that a branch has built."""

    name: str
    schedule: str
    enabled: bool
    running: bool
    next: AwareDatetime | None
    result: str = ""
    started_at: AwareDatetime | None = Field(None, alias="startedAt")
    missed: int = 0


def parts(text: str, now: datetime) -> list[ServiceStatus]:
    """Return the status of each enabled scheduled command.

    Args:
        text: the output of the command STATUS (docker/mautic/php/cron.php).
        now: the present time.
    """
    try:
        told = TypeAdapter(list[_Told]).validate_json(text)
    except ValidationError:
        return unknown(text)
    return [
        ServiceStatus(f"cron-{row.name}", row.schedule, _result(row), "", "", _times(row, now))
        for row in told
        if row.enabled
    ]


def unknown(why: str) -> list[ServiceStatus]:
    """Return the status if scheduled commands cannot be read.

    Args:
        why: the error output; empty for older images without that command.
    """
    lines = why.strip().splitlines() or ["its image does not tell"]
    return [ServiceStatus("cron-…", _UNKNOWN, "", "", "", lines[-1])]


def troubled(found: Sequence[ServiceStatus]) -> list[ServiceStatus]:
    """Return those that failed, missed a run, or are unknown."""
    return [
        part
        for part in found
        if part.health not in _WELL or part.state == _UNKNOWN or part.uptime.endswith(_MISSED)
    ]


def summary(found: Sequence[ServiceStatus]) -> str:
    """Return in a line how many of how many have run well."""
    well = sum(part.health == "ok" for part in found)
    return f"{well} of {len(found)} scheduled commands have run well"


def rows(found: Sequence[ServiceStatus]) -> list[tuple[str, ...]]:
    """Return scheduled commands as rows: name, schedule, result of the last run, times."""
    return [(part.service, part.state, part.health or "-", part.uptime) for part in found]


def _result(row: _Told) -> str:
    if row.running:
        return "running"
    return "ok" if row.result == "exit 0" else row.result


def _times(row: _Told, now: datetime) -> str:
    told = [f"{since(row.started_at.isoformat(), now)} ago"] if row.started_at else []
    told += [f"next in {until(row.next.isoformat(), now)}"] if row.next else []
    told += [f"{row.missed}{_MISSED}"] if row.missed else []
    return ", ".join(told)
