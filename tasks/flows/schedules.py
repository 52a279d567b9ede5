"""What became of the scheduled commands that one container runs, as `inv status` shows it.

They are parts of an environment without an image: their service has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.flows.target import ServiceStatus
from tasks.flows.views import since, until

STATUS = ("mautic", "cron", "status")
"""The command that tells it, in the scheduler's own container."""

COLUMNS = ("scheduled", "when", "result", "runs")


def parts(text: str, now: datetime) -> list[ServiceStatus]:
    """Return a row for each scheduled command that is switched on.

    Args:
        text: what the command STATUS wrote: docker/mautic/php/cron.php.
        now: the present moment.
    """
    try:
        told: list[dict[str, Any]] = json.loads(text)
    except ValueError:
        return unknown(text)
    return [
        ServiceStatus(
            f"cron-{row['name']}", row["schedule"], _result(row), "", "", _times(row, now)
        )
        for row in told
        if row["enabled"]
    ]


def unknown(why: str) -> list[ServiceStatus]:
    """Return the row for commands that cannot be asked about.

    Args:
        why: what was said instead; an image from before there was such a question says nothing
            that would help.
    """
    lines = why.strip().splitlines() or ["its image does not tell"]
    return [ServiceStatus("cron-…", "unknown", "", "", "", lines[-1])]


def rows(found: Sequence[ServiceStatus]) -> list[tuple[str, ...]]:
    """Return scheduled commands as rows: name, schedule, result of the last run, times."""
    return [(part.service, part.state, part.health or "-", part.uptime) for part in found]


def _result(row: Mapping[str, Any]) -> str:
    if row["running"]:
        return "running"
    return "ok" if row.get("result") == "exit 0" else row.get("result", "")


def _times(row: Mapping[str, Any], now: datetime) -> str:
    told = [f"{since(row['startedAt'], now)} ago"] if "startedAt" in row else []
    told += [f"next in {until(row['next'], now)}"] if row["next"] else []
    told += [f"{row['missed']} missed"] if row.get("missed") else []
    return ", ".join(told)
