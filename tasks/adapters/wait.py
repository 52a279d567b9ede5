"""Waiting for what happens outside: with a deadline, at which the object is named."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tasks.core.errors import DeadlineError

_T = TypeVar("_T")


@dataclass(frozen=True)
class Clock:
    """What a wait goes by; a test may bring its own.

    Attributes:
        monotonic: returns seconds that only grow.
        sleep: pauses for so many seconds.
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
    """Return the first answer that is neither None nor False; ask at once and at the deadline.

    Args:
        name: the object, and what is the matter with it while it is waited for, as the error
            begins: ``deployment/web is not ready``.
        look: asked again and again; what it raises ends the wait.
        deadline_seconds: how long to wait.
        poll_seconds: how long to pause between two questions.
        late: returns the error for the deadline, from a message that names object and seconds.
        clock: what the wait goes by.

    Raises:
        DeadlineError: there was none in time; or whatever ``late`` makes of it.
    """
    deadline = clock.monotonic() + deadline_seconds
    while not (answer := look()):
        left = deadline - clock.monotonic()
        if left <= 0:
            raise late(f"{name} after {deadline_seconds:.0f} s")
        clock.sleep(min(poll_seconds, left))
    return answer
