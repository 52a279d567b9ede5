"""What is stored of an environment's sleep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.errors import InputError, RefusedError, UnreadableError
from tasks.core.sleep import NO_REST, Pinned, Rest, Sleep, newest_time, pin_end, refuse_sleep

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
SINCE = "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("until", "lasting", "end"),
    [
        ("", "", ""),
        ("2026-01-10", "", "2026-01-10T23:59:59+00:00"),
        ("2027-01-01", "", "2027-01-01T23:59:59+00:00"),
        ("", "12h", "2026-01-11T00:00:00+00:00"),
        ("", "14d", "2026-01-24T12:00:00+00:00"),
    ],
)
def test_when_a_pin_ends(until: str, lasting: str, end: str) -> None:
    assert pin_end(until, lasting, NOW) == end


@pytest.mark.parametrize(
    ("until", "lasting", "told"),
    [
        ("2026-01-11", "1d", "not both"),
        ("2026-01-09", "", "is over"),
        ("tomorrow", "", "must be a day"),
        ("2026-02-30", "", "must be a day"),
        ("", "14 days", "must be 1 to 9999 hours"),
        ("", "0d", "must be 1 to 9999 hours"),
    ],
)
def test_what_ends_no_pin_is_told(until: str, lasting: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        pin_end(until, lasting, NOW)


@pytest.mark.parametrize(
    ("until", "holds"),
    [
        ("", True),
        ((NOW + timedelta(seconds=1)).isoformat(), True),
        (NOW.isoformat(), False),
    ],
)
def test_what_is_pinned_does_not_sleep(until: str, *, holds: bool) -> None:
    pin = Pinned(SINCE, "ada@host", until)
    rest = Rest(pin=pin)
    assert rest.pinned(NOW) == (pin if holds else None)
    if holds:
        with pytest.raises(RefusedError, match=r"pinned .*by ada@host"):
            refuse_sleep("x", "--branch x", rest, NOW)
    else:
        refuse_sleep("x", "--branch x", rest, NOW)


def test_both_are_told_with_who_and_when() -> None:
    assert str(Sleep(SINCE, "ada@host", "unused for 12 h")) == (
        "asleep since 2026-01-01 00:00 UTC, put to sleep by ada@host (unused for 12 h)"
    )
    assert str(Pinned(SINCE, "ada@host")) == "pinned by ada@host"
    assert str(Pinned(SINCE, "ada@host", SINCE)) == "pinned until 2026-01-01 00:00 UTC by ada@host"


@pytest.mark.parametrize(
    "rest",
    [
        Rest(used_at="yesterday"),
        Rest(Sleep("yesterday", "a", "b")),
        Rest(pin=Pinned("yesterday", "a")),
        Rest(pin=Pinned(SINCE, "a", "never")),
    ],
)
def test_a_time_that_is_none_is_told(rest: Rest) -> None:
    with pytest.raises(UnreadableError, match="is no time"):
        rest.checked()
    assert NO_REST.checked() is NO_REST


def test_the_newest_of_some_times() -> None:
    assert newest_time("", "") == ""
    assert newest_time("", SINCE) == SINCE
    # In another zone it is later, although its text is not.
    assert newest_time("2026-01-01T00:30:00+02:00", SINCE) == SINCE
