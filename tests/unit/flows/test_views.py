from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.environment import State
from tasks.flows.target import EnvironmentSummary, ServiceStatus
from tasks.flows.views import list_rows, since, status_rows, until

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(seconds=5), "5s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=90), "1h"),
        (timedelta(days=13, hours=23), "13d"),
        (timedelta(seconds=-3), "0s"),
    ],
)
def test_an_age_has_one_unit(ago: timedelta, text: str) -> None:
    assert since((NOW - ago).isoformat(), NOW) == text


def test_what_is_to_come() -> None:
    assert until((NOW + timedelta(days=2)).isoformat(), NOW) == "2d"
    assert until((NOW - timedelta(days=2)).isoformat(), NOW) == "expired"
    assert until("", NOW) == "-"


def test_an_environment_that_never_worked_has_a_row_without_gaps() -> None:
    row = list_rows(
        [EnvironmentSummary("b", "b", "r", "http://b", State.INTERRUPTED, *[""] * 6)], NOW
    )[0]
    assert row == ("b", "interrupted", "-", "-", "-", "-", "http://b")


def test_rows_of_status_fit_into_80_columns() -> None:
    image = "localhost:5050/mautic/mautic@sha256:" + "ab" * 32
    part = ServiceStatus(
        "database", "running", "healthy", image, "1a2b3c4d", "Up 59 minutes (healthy)"
    )
    row = status_rows([part])[0]
    assert row[3] == "1a2b3c4d abababababab"
    assert len("  ".join(row)) <= 80
