"""Durations as people write them: 12h, 7d, 2w."""

from __future__ import annotations

import re

from tasks.core.errors import InputError

SPELLING = "[1-9][0-9]{0,3}[hdw]"
"""A duration's pattern; its bound keeps every time that is reckoned with it within the calendar."""
DURATION = f"^{SPELLING}$"
EXPECTED = "must be 1 to 9999 hours, days or weeks: 12h, 7d, 2w"

_HOURS = {"h": 1, "d": 24, "w": 168}


def hours_of(duration: str) -> int:
    """Return the hours of a duration such as 12h, 7d or 2w.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch(DURATION, duration):
        raise InputError(f"{duration!r} {EXPECTED}")
    return int(duration[:-1]) * _HOURS[duration[-1]]
