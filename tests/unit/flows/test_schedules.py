"""What `inv status` shows of scheduled commands that one container runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.flows import schedules
from tasks.flows.schedules import parts

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
JOB: dict[str, Any] = {"name": "a", "schedule": "* * * * *", "enabled": True, "running": False}


def rows(*jobs: dict[str, Any]) -> list[tuple[str, ...]]:
    return schedules.rows(parts(json.dumps([{**JOB, "next": None, **job} for job in jobs]), NOW))


def test_a_job_shows_its_last_and_its_next_run() -> None:
    good = {
        "name": "contacts-export",
        "schedule": "2-59/3 * * * *",
        "startedAt": "2026-11-22T11:50:00+00:00",
        "endedAt": "2026-11-22T11:50:09+00:00",
        "result": "exit 0",
        # In the time zone of the schedules.
        "next": "2026-11-22T21:03:00+09:00",
    }
    row = rows(good)[0]
    assert row == ("cron-contacts-export", "2-59/3 * * * *", "ok", "10m ago, next in 3m")
    assert len("  ".join(row)) <= 80


def test_what_went_wrong_is_told() -> None:
    failed = {"startedAt": "2026-11-22T11:59:00+00:00", "result": "exit 255", "missed": 3}
    assert rows(failed)[0][2:] == ("exit 255", "1m ago, 3 missed")
    # While it runs, the result is the last one's.
    assert rows({**failed, "running": True})[0][2] == "running"


def test_an_answer_that_is_none_is_shown_as_it_came() -> None:
    found = schedules.rows(parts("cron takes no arguments\n", NOW))
    assert found == [("cron-…", "unknown", "-", "cron takes no arguments")]


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[1]",
        "null",
        '[{"name": "x"}]',
        json.dumps([{**JOB, "next": "soon"}]),
        json.dumps([{**JOB, "next": None, "startedAt": "2026-11-22T11:50:00"}]),
        json.dumps([{**JOB, "next": None, "result": 7}]),
        json.dumps([{**JOB, "next": None, "missed": "many"}]),
        "\ufffd",
    ],
)
def test_what_an_image_of_a_branch_makes_up_is_shown_as_it_came(text: str) -> None:
    assert schedules.rows(parts(text, NOW)) == [("cron-…", "unknown", "-", text)]


def test_a_job_that_never_ran_has_a_row_and_one_that_is_off_has_none() -> None:
    found = rows({"next": "2026-11-22T12:30:00+00:00"}, {"enabled": False})
    assert found == [("cron-a", "* * * * *", "-", "next in 30m")]


def test_only_what_has_trouble_needs_a_row() -> None:
    started = {"startedAt": "2026-11-22T11:50:00+00:00"}
    jobs = (
        {"name": "well", **started, "result": "exit 0"},
        {"name": "new"},
        {"name": "running", **started, "result": "exit 255", "running": True},
        {"name": "failed", **started, "result": "exit 255"},
        {"name": "late", **started, "result": "exit 0", "missed": 3},
    )
    found = parts(json.dumps([{**JOB, "next": None, **job} for job in jobs]), NOW)
    names = [part.service for part in schedules.troubled(found)]
    assert names == ["cron-failed", "cron-late"]
    assert schedules.summary(found) == "2 of 5 scheduled commands have run well"
    nothing = parts("cron takes no arguments", NOW)
    assert schedules.troubled(nothing) == nothing
