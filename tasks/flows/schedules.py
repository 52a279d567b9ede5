"""The results of scheduled commands that run in one container, for `inv status`.

They are statuses without an image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tasks.flows.target import ServiceStatus
from tasks.flows.views import since, until

STATUS = ("mautic", "cron", "status")
"""The command that prints them, in the scheduler's container."""

COLUMNS = ("scheduled", "when", "result", "runs")


def parts(text: str, now: datetime) -> list[ServiceStatus]:
    """Return the status of each enabled scheduled command.

    Args:
        text: the output of the command STATUS (docker/mautic/php/cron.php).
        now: the present time.
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
    """Return the status if scheduled commands cannot be read.

    Args:
        why: the error output; empty for older images without that command.
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
