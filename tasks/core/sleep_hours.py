"""When an environment is put to sleep by itself: by a clock, and when nobody uses it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY = timedelta(days=1)
SPARED = timedelta(hours=1)
"""Within its hours an environment is left awake for so long after its last use: who works at night
is not disturbed."""

_DAY = f"(?:{'|'.join(DAYS)})"
SPAN = (
    rf"^[0-9]{{2}}:[0-9]{{2}}-[0-9]{{2}}:[0-9]{{2}} (?:daily|{_DAY}(?:-{_DAY})?) [A-Za-z0-9_+/-]+$"
)
"""The form of a span of hours: ``20:00-07:00 Mon-Fri Europe/Berlin``."""


@dataclass(frozen=True)
class SleepSpan:
    """Hours of the day on some days of the week, by the clocks of a time zone.

    Clocks that are put forward or back make a night shorter or longer: what counts is what they
    show.

    Attributes:
        text: as it was written.
        begin: minutes after midnight.
        end: minutes after midnight, at most 1440; not after ``begin`` means on the next day.
        days: the days on which it begins; Monday is 0.
    """

    text: str
    begin: int
    end: int
    days: frozenset[int]
    zone: ZoneInfo

    def covers(self, moment: datetime) -> bool:
        """Return True if a moment lies in it."""
        local = moment.astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= minute < self.end
        yesterday = (today - 1) % len(DAYS)
        return (today in self.days and minute >= self.begin) or (
            yesterday in self.days and minute < self.end
        )


def parse_span(text: str) -> SleepSpan:
    """Return a span from its text, of the form ``SPAN``.

    Raises:
        ValueError: it is no span.
    """
    if not re.fullmatch(SPAN, text):
        raise ValueError("must be hours, days and a time zone: 20:00-07:00 Mon-Fri Europe/Berlin")
    hours, days, zone = text.split(" ")
    begin, end = (_minutes(part) for part in hours.split("-"))
    if begin == DAY // timedelta(minutes=1) or begin == end:
        raise ValueError("must begin before 24:00, and end at another time; all day is 00:00-24:00")
    try:
        place = ZoneInfo(zone)
    # What is no file in the system's table is told in several ways.
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{zone} is no time zone that this machine knows") from error
    return SleepSpan(text, begin, end, _days(days), place)


def _minutes(text: str) -> int:
    hour, minute = map(int, text.split(":"))
    if minute > 59 or hour * 60 + minute > 1440:
        raise ValueError(f"{text} is no time of a day")
    return hour * 60 + minute


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(len(DAYS)))
    first, _, last = text.partition("-")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset((begin + each) % len(DAYS) for each in range((end - begin) % len(DAYS) + 1))


@dataclass(frozen=True)
class SleepRule:
    """When the environments of one of invoke.yaml are put to sleep.

    Attributes:
        hours: by the clock.
        idle_hours: when nobody has used them for so long; 0 for never.
    """

    hours: tuple[SleepSpan, ...] = ()
    idle_hours: int = 0

    def due(self, used_at: datetime | None, now: datetime) -> str:
        """Return why an environment has to sleep now; empty if it has not.

        Args:
            used_at: when it was last used; None if that is unknown, then it is left alone.
            now: the present time.
        """
        if used_at is None:
            return ""
        unused = now - used_at
        if self.idle_hours and unused >= timedelta(hours=self.idle_hours):
            return f"unused for {self.idle_hours} h"
        if unused < SPARED:
            return ""
        return next((f"hours {span.text}" for span in self.hours if span.covers(now)), "")


NEVER = SleepRule()
"""Of environments that do not sleep by themselves."""
