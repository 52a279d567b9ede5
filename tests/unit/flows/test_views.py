from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.environment import Record, Release, State
from tasks.core.sleep import NO_REST, Pinned, Rest, Sleep
from tasks.core.spans import since, until
from tasks.core.summary import EnvironmentSummary
from tasks.flows.target import ServiceStatus
from tasks.flows.views import (
    list_rows,
    release_parts,
    release_rows,
    rest_lines,
    rest_part,
    status_rows,
)
from tests.support.suite import ROOT

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


def test_releases_are_listed_with_those_that_failed_and_the_one_that_runs() -> None:
    def release(tag: str, minute: int) -> Release:
        return Release(tag, "", "m", "n", "ada@host", f"2026-11-22T11:{minute:02}:30+00:00")

    record = Record(State.READY, "http://b").with_release(release("a1", 1))
    record = record.with_failure(release("b2", 2), None).with_release(release("c3", 3))
    record = record.with_failure(release("d4", 4), None)

    parts = release_parts(Record.from_json(record.to_json()))

    assert release_rows(parts) == [
        ("d4", "2026-11-22 11:04", "ada@host", "failed", ""),
        ("c3", "2026-11-22 11:03", "ada@host", "done", "yes"),
        ("b2", "2026-11-22 11:02", "ada@host", "failed", ""),
        ("a1", "2026-11-22 11:01", "ada@host", "done", ""),
    ]


SLEEP = Sleep((NOW - timedelta(hours=3)).isoformat(), "ada@host", "by hand")
PINNED = Pinned(SLEEP.since, "grace@host", (NOW + timedelta(days=2)).isoformat())
ITEM = EnvironmentSummary("b", "b", "r", "http://b", State.ASLEEP, *[""] * 6)


@pytest.mark.parametrize(
    ("state", "rest", "shown"),
    [
        (State.ASLEEP, Rest(SLEEP), ("asleep 3h (by hand, ada@host)", "-")),
        (
            State.ASLEEP,
            Rest(SLEEP, PINNED),
            ("asleep 3h (by hand, ada@host)", "pinned 2d (grace@host)"),
        ),
        (State.RUNNING, Rest(pin=PINNED), ("running", "pinned 2d (grace@host)")),
        (State.RUNNING, Rest(pin=replace(PINNED, until="")), ("running", "pinned (grace@host)")),
        (State.RUNNING, Rest(pin=replace(PINNED, until=SLEEP.since)), ("running", "-")),
        # Half asleep.
        (State.DEGRADED, Rest(SLEEP), ("degraded", "-")),
    ],
)
def test_a_row_tells_who_sleeps_and_who_is_pinned(
    state: State, rest: Rest, shown: tuple[str, str]
) -> None:
    (row,) = list_rows([replace(ITEM, state=state, rest=rest)], NOW)
    assert (row[1], row[4]) == shown


def test_status_tells_the_same_as_lines_and_as_data() -> None:
    rest = Rest(SLEEP, PINNED)
    assert [line.split()[0] for line in rest_lines(rest, NOW)] == ["asleep", "pinned"]
    (part,) = rest_part(rest, NOW)
    assert (part["service"], part["state"]) == ("environment", "asleep")
    assert (part["asleep"]["why"], part["pin"]["by"]) == ("by hand", "grace@host")
    assert rest_part(Rest(pin=PINNED), NOW)[0]["state"] == "awake"
    assert rest_part(NO_REST, NOW) == rest_lines(NO_REST, NOW) == []


def test_rows_of_status_fit_into_80_columns() -> None:
    image = "localhost:5050/mautic/mautic@sha256:" + "ab" * 32
    tag = "1a2b3c4d-dirty-800c9fec"
    part = ServiceStatus("database", "running", "healthy", image, tag, "Up 59 minutes")
    row = status_rows([part])[0]
    assert row[3] == f"{tag} abababababab"
    assert len("  ".join(row)) <= 80


def test_all_tables_have_headers_in_lower_case() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "tasks").rglob("*.py"))
    columns = re.findall(r"^\w*COLUMNS = (\(.*?\))$", source, re.M | re.S)
    assert len(columns) > 10
    headers = [header for each in columns for header in re.findall(r'"(.+?)"', each)]
    loud = [header for header in headers if header.isupper()]
    assert loud == []
