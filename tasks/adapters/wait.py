"""Polls until a condition holds; at the deadline the error names the object."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tasks.core.errors import DeadlineError

_T = TypeVar("_T")


@dataclass(frozen=True)
class Clock:
    """The clock of a wait; tests use their own.

    Attributes:
        monotonic: like ``time.monotonic``.
        sleep: like ``time.sleep``.
    """

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


CLOCK = Clock()


def wait_until(
    name: str,
    look: Callable[[], _T | None],
    *,
    deadline_seconds: float,
    poll_seconds: float,
    late: Callable[[str], Exception] = DeadlineError,
    clock: Clock = CLOCK,
) -> _T:
    """Return the first truthy result of a function; call it at once, and again at the deadline.

    Args:
        name: the object and its state while waiting, with which the error begins:
            ``deployment/web is not ready``.
        look: the function; its exceptions end the wait.
        deadline_seconds: how long to wait.
        poll_seconds: how long to pause between two calls.
        late: returns the error for the deadline, from a message with object and seconds.
        clock: the clock of the wait.

    Raises:
        DeadlineError: there was none in time; or the error that ``late`` returns.
    """
    deadline = clock.monotonic() + deadline_seconds
    while not (answer := look()):
        left = deadline - clock.monotonic()
        if left <= 0:
            raise late(f"{name} after {deadline_seconds:.0f} s")
        clock.sleep(min(poll_seconds, left))
    return answer
