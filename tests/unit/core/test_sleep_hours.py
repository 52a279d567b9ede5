"""When environments are put to sleep by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.sleep_hours import SleepRule, parse_span

NIGHTS = "20:00-07:00 Mon-Fri Europe/Berlin"
NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("span", "moment", "covered"),
    [
        # Wednesday 2026-01-07; Berlin is an hour ahead of UTC.
        (NIGHTS, "2026-01-07 18:59:59", False),
        (NIGHTS, "2026-01-07 19:00", True),
        (NIGHTS, "2026-01-08 05:59:59", True),
        (NIGHTS, "2026-01-08 06:00", False),
        # The night of Friday ends on Saturday; that of Sunday does not begin.
        (NIGHTS, "2026-01-10 05:00", True),
        (NIGHTS, "2026-01-10 20:00", False),
        (NIGHTS, "2026-01-11 22:00", False),
        (NIGHTS, "2026-01-12 03:00", False),
        (NIGHTS, "2026-01-12 19:00", True),
        # In summer it is two hours ahead.
        (NIGHTS, "2026-07-01 18:00", True),
        (NIGHTS, "2026-07-01 17:59", False),
        ("00:00-24:00 Sat-Sun Europe/Berlin", "2026-01-09 22:59", False),
        ("00:00-24:00 Sat-Sun Europe/Berlin", "2026-01-09 23:00", True),
        ("00:00-24:00 Sat-Sun Europe/Berlin", "2026-01-11 22:59", True),
        ("00:00-24:00 Sat-Sun Europe/Berlin", "2026-01-11 23:00", False),
        ("12:00-13:00 daily UTC", "2026-01-11 12:30", True),
        ("12:00-13:00 daily UTC", "2026-01-11 13:00", False),
        ("12:00-13:00 Wed UTC", "2026-01-07 12:00", True),
        ("12:00-13:00 Wed UTC", "2026-01-08 12:00", False),
        # A range of days goes over the end of the week.
        ("12:00-13:00 Sat-Mon UTC", "2026-01-12 12:00", True),
        ("12:00-13:00 Sat-Mon UTC", "2026-01-13 12:00", False),
        # 2026-03-29: at 01:00 UTC Berlin's clocks go from 02:00 to 03:00. That hour never comes.
        ("02:00-03:00 daily Europe/Berlin", "2026-03-29 00:59", False),
        ("02:00-03:00 daily Europe/Berlin", "2026-03-29 01:00", False),
        ("22:00-03:30 Sat Europe/Berlin", "2026-03-29 01:29", True),
        ("22:00-03:30 Sat Europe/Berlin", "2026-03-29 01:30", False),
        # 2026-10-25: at 01:00 UTC they go from 03:00 to 02:00. That hour comes twice.
        ("02:00-03:00 daily Europe/Berlin", "2026-10-25 00:30", True),
        ("02:00-03:00 daily Europe/Berlin", "2026-10-25 01:30", True),
        ("02:00-03:00 daily Europe/Berlin", "2026-10-25 02:00", False),
        # A zone whose clocks are not whole hours away.
        ("20:00-07:00 daily Asia/Kolkata", "2026-01-07 14:30", True),
        ("20:00-07:00 daily Asia/Kolkata", "2026-01-07 14:29", False),
    ],
)
def test_a_span_is_by_the_clocks_of_its_zone(span: str, moment: str, *, covered: bool) -> None:
    assert parse_span(span).covers(utc(moment)) is covered


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be hours"),
        ("20:00-07:00", "must be hours"),
        ("20:00-07:00 Mon-Fri", "must be hours"),
        ("8pm-7am Mon-Fri Europe/Berlin", "must be hours"),
        ("20-07 Mon-Fri Europe/Berlin", "must be hours"),
        ("20:00-07:00 mon-fri Europe/Berlin", "must be hours"),
        ("20:00-07:00 Mon,Tue Europe/Berlin", "must be hours"),
        ("20:00-07:00  Mon Europe/Berlin", "must be hours"),
        ("20:00-07:00 Mon Europe/Berlin\n", "must be hours"),
        ("25:00-07:00 Mon Europe/Berlin", "25:00 is no time"),
        ("20:60-07:00 Mon Europe/Berlin", "20:60 is no time"),
        ("20:00-24:01 Mon Europe/Berlin", "24:01 is no time"),
        ("24:00-07:00 Mon Europe/Berlin", "must begin before 24:00"),
        ("07:00-07:00 Mon Europe/Berlin", "end at another time"),
        ("20:00-07:00 Mon Europe/Nowhere", "is no time zone"),
        ("20:00-07:00 Mon /etc/passwd", "is no time zone"),
        ("20:00-07:00 Mon Europe", "is no time zone"),
    ],
)
def test_what_is_no_span_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_span(text)


@pytest.mark.parametrize(
    ("hours", "idle_hours", "unused", "reason"),
    [
        ((), 0, timedelta(days=99), ""),
        ((), 12, timedelta(hours=12), "unused for 12 h"),
        ((), 12, timedelta(hours=12, seconds=-1), ""),
        ((), 12, None, ""),
        (("12:00-13:00 daily UTC",), 0, timedelta(hours=1), "hours 12:00-13:00 daily UTC"),
        (("12:00-13:00 daily UTC",), 0, None, ""),
        # Somebody works there.
        (("12:00-13:00 daily UTC",), 0, timedelta(minutes=59), ""),
        (("13:00-14:00 daily UTC",), 0, timedelta(days=9), ""),
        (("13:00-14:00 daily UTC", "00:00-24:00 Wed UTC"), 0, timedelta(days=9), "hours 00:00"),
        (("12:00-13:00 daily UTC",), 1, timedelta(hours=1), "unused for 1 h"),
        # A clock of ours that is behind.
        (("12:00-13:00 daily UTC",), 1, timedelta(hours=-1), ""),
    ],
)
def test_what_is_due(
    hours: tuple[str, ...], idle_hours: int, unused: timedelta | None, reason: str
) -> None:
    rule = SleepRule(tuple(map(parse_span, hours)), idle_hours)
    due = rule.due(None if unused is None else NOW - unused, NOW)
    assert due.startswith(reason)
    assert bool(due) is bool(reason)
