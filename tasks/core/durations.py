"""Durations as people write them: 90s, 12h, 7d, 2w."""

from __future__ import annotations

import re

from tasks.core.errors import InputError

SPELLING = "[1-9][0-9]{0,3}[hdw]"
"""A duration's pattern; its bound keeps every time that is reckoned with it within the calendar."""
DURATION = f"^{SPELLING}$"
EXPECTED = "must be 1 to 9999 hours, days or weeks: 12h, 7d, 2w"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SHORT = "[1-9][0-9]{0,3}[smhdw]"


def hours_of(duration: str, option: str = "") -> int:
    """Return the hours of a duration such as 12h, 7d or 2w.

    Args:
        option: the option that gives it, for the error; empty for a setting.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch(DURATION, duration):
        raise InputError(f"{_named(option, duration)} {EXPECTED}")
    return _seconds(duration) // 3600


def seconds_of(duration: str, option: str = "") -> int:
    """Return the seconds of a duration such as 90s, 10m, 2h or 7d; arguments as for ``hours_of``.

    Raises:
        InputError: it is none.
    """
    if not re.fullmatch(_SHORT, duration):
        raise InputError(
            f"{_named(option, duration)} must be 1 to 9999 seconds to weeks: 90s, 10m, 2h, 7d"
        )
    return _seconds(duration)


def _named(option: str, duration: str) -> str:
    return f"--{option} {duration!r}:" if option else f"{duration!r}"


def _seconds(duration: str) -> int:
    return int(duration[:-1]) * _SECONDS[duration[-1]]
