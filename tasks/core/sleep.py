"""What is stored of an environment's sleep: that it sleeps, is pinned, and when it was last used.

Each target stores these beside the environment's record: a cluster in annotations of the namespace
(``core/kubernetes/sleeping.py``), Compose in the record itself and, for the last use, in a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from tasks.core.durations import hours_of
from tasks.core.environment import parse_moment
from tasks.core.errors import InputError, RefusedError, UnreadableError

BY_HAND = "by hand"
"""Why an environment sleeps that somebody has put to sleep."""


class Wake(StrEnum):
    """How far the local platform's waker is with an environment since it was put to sleep."""

    NOT = ""
    BEGUN = "begun"
    DONE = "done"


@dataclass(frozen=True)
class Sleep:
    """That an environment was put to sleep.

    Attributes:
        since: ISO 8601, UTC.
        by: user@host.
        why: ``BY_HAND``, or what `inv gc` has found (``sleep_hours.SleepRule.due``).
    """

    since: str
    by: str
    why: str

    def __str__(self) -> str:
        return f"asleep since {_shown(self.since)}, put to sleep by {self.by} ({self.why})"


@dataclass(frozen=True)
class Pinned:
    """That an environment never sleeps and never expires.

    Attributes:
        since: ISO 8601, UTC.
        by: user@host.
        until: ISO 8601, or an empty string for no end.
    """

    since: str
    by: str
    until: str = ""

    def holds(self, now: datetime) -> bool:
        """Return True if it has not ended."""
        return not self.until or now < parse_moment(self.until)

    def __str__(self) -> str:
        end = f" until {_shown(self.until)}" if self.until else ""
        return f"pinned{end} by {self.by}"


@dataclass(frozen=True)
class Rest:
    """What is stored of an environment's sleep.

    Attributes:
        asleep: None if nobody has put it to sleep.
        pin: None if it was never pinned; one that has ended stays.
        used_at: when somebody used it last: by a deploy, a command in it, by waking it; empty if
            that is unknown.
    """

    asleep: Sleep | None = None
    pin: Pinned | None = None
    used_at: str = ""

    def pinned(self, now: datetime) -> Pinned | None:
        """Return the pin that holds now, or None."""
        return self.pin if self.pin and self.pin.holds(now) else None

    @property
    def last_use(self) -> datetime | None:
        """When somebody used it last; None if that is unknown."""
        return parse_moment(self.used_at) if self.used_at else None

    def checked(self) -> Rest:
        """Return it, if all times in it are times.

        Raises:
            UnreadableError: one is none.
        """
        moments = [self.used_at]
        moments += [self.asleep.since] if self.asleep else []
        moments += [self.pin.since, self.pin.until] if self.pin else []
        for moment in filter(None, moments):
            parse_moment(moment)
        return self


NO_REST = Rest()
"""Of an environment that never slept, and whose last use is unknown."""


def newest_time(*moments: str) -> str:
    """Return the newest of some stored times, of which each may be empty.

    Raises:
        UnreadableError: one is no time.
    """
    return max(filter(None, moments), key=parse_moment, default="")


def pin_end(until: str, lasting: str, now: datetime) -> str:
    """Return when a pin ends, ISO 8601; an empty string for never.

    Args:
        until: its last day, UTC, or an empty string.
        lasting: how long it lasts (``12h``, ``14d``, ``2w``), or an empty string.
        now: the present time.

    Raises:
        InputError: both are given, or one is no day, no duration, or over.
    """
    if until and lasting:
        raise InputError("give --until or --for, not both")
    if lasting:
        return (now + timedelta(hours=hours_of(lasting, "for"))).isoformat(timespec="seconds")
    if not until:
        return ""
    try:
        day = date.fromisoformat(until)
    except ValueError as error:
        raise InputError(f"--until {until!r}: must be a day: 2026-12-31") from error
    end = datetime.combine(day, time(23, 59, 59), UTC)
    if end <= now:
        raise InputError(f"--until {until}: is over")
    return end.isoformat()


def refuse_sleep(title: str, options: str, rest: Rest, now: datetime) -> None:
    """Refuse to put a pinned environment to sleep.

    Args:
        title: what the environment is called.
        options: those that name it.
        rest: its sleep and its pin.
        now: the time.

    Raises:
        RefusedError: it is pinned.
    """
    if pin := rest.pinned(now):
        raise RefusedError(
            f"{title} is {pin}: it is not put to sleep", hint=f"inv pin --off {options} ends that"
        )


def _shown(moment: str) -> str:
    try:
        return f"{parse_moment(moment).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except UnreadableError:
        return moment
