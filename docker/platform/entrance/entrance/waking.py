"""Wakes one environment, wherever it runs: the steps, each under its lock, and their waits.

Each step looks again before it changes anything, so it may be cut off anywhere and repeated, by
this process, another one, or the suite. That an environment is being woken is stored with it:
whoever finds it goes on, even if no visitor is left.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Protocol

from entrance.pages import Progress, Stage

log = logging.getLogger("entrance")

WAKE_SECONDS = 600
"""How long one is waited for, whether or not a visitor is left."""
ASKED_SECONDS = 60
"""How long one that starts by itself is looked at after its last visitor."""
POLL_SECONDS = 0.3
"""How often the site is tried."""
LOOK_SECONDS, LATER_SECONDS, LATER_LOOK_SECONDS = 1.0, 20.0, 3.0
"""How often it is looked at; after so many seconds, less often."""
LOOKS_AT_ONCE = threading.BoundedSemaphore(6)
"""Of all environments that wake at the same time."""


class HeldError(Exception):
    """Somebody else holds the environment.

    Attributes:
        by_stranger: whether that is no other process of the entrance, which is at the same step.
    """

    def __init__(self, *, by_stranger: bool = False) -> None:
        super().__init__()
        self.by_stranger = by_stranger


class UnansweredError(Exception):
    """What runs the environments is away, or refuses.

    Attributes:
        told: what visitors may read of it: the cause, and what to do.
    """

    told = ("what runs the environments does not answer, or refuses", "look at the entrance's log")


class Mark(Enum):
    """What is stored of an environment."""

    ASLEEP = "it sleeps"
    WAKING = "it is being woken from here"
    AWAKE = "it is awake"


class Steps(Protocol):
    """What is done to one environment.

    Each raises HeldError while somebody else holds it, and UnansweredError.
    """

    def start(self) -> bool:
        """Start what has to run first of one that sleeps; return False if it does not."""

    def proceed(self) -> bool:
        """Start what has waited until now; return True once its web can be reached."""

    def finish(self) -> None:
        """Start workers and crons of one whose web serves, and store that it is awake."""

    def give_up(self) -> None:
        """Store that it is no longer being woken: the next visitor tries again."""

    def mark(self) -> Mark:
        """Return what is stored of it now."""

    def progress(self, since: datetime) -> Progress:
        """Return how far it is, and what is in its way.

        Args:
            since: when it was begun to be woken.
        """


@dataclass
class Waking:
    """One environment that somebody waits for.

    Attributes:
        progress: how far it is.
        is_noted: set once it was tried for the first time: what was begun is stored, and goes on
            without this process.
        is_open: set when its web can be reached.
        asked: when somebody asked for it last, by the monotonic clock.
    """

    name: str
    steps: Steps
    progress: Progress
    is_noted: threading.Event = field(default_factory=threading.Event)
    is_open: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.monotonic)

    def run(self, *, sleeping: bool) -> None:
        """Wake it, or wait for it if it starts by itself.

        Args:
            sleeping: whether it sleeps.
        """
        began, since = time.monotonic(), datetime.now(UTC)
        to_start, to_finish, next_look = sleeping, False, began
        # It may have been put to sleep just before it was asked for, which nobody here knew yet.
        is_doubtful = not sleeping
        while not self._is_over(began, woken=to_start or to_finish):
            pause = POLL_SECONDS
            try:
                if is_doubtful:
                    to_start, is_doubtful = self.steps.mark() is Mark.ASLEEP, False
                if to_start:
                    to_start, to_finish = False, self.steps.start()
                if self.steps.proceed():
                    self.is_open.set()
                    if to_finish:
                        self.steps.finish()
                    return
                if time.monotonic() >= next_look:
                    mark = self.steps.mark()
                    if mark is Mark.ASLEEP:
                        return  # somebody has put it to sleep: the next visitor wakes it
                    to_finish = mark is Mark.WAKING
                    self._look(since, woken=to_finish)
                    next_look = time.monotonic() + _pause(began)
            except HeldError as error:
                if error.by_stranger:
                    self.progress = Progress(Stage.HELD, self.progress.rows)
                    pause = LOOK_SECONDS
            except UnansweredError as error:
                log.warning("%s: %s", self.name, error)
                self.progress = Progress(Stage.FAILED, self.progress.rows, *error.told)
                pause = LOOK_SECONDS
            finally:
                self.is_noted.set()
            time.sleep(pause)
        if to_finish:
            self._give_up()

    def _give_up(self) -> None:
        try:
            self.steps.give_up()
        except (HeldError, UnansweredError) as error:
            log.warning("%s: stays marked: %r", self.name, error)

    def _look(self, since: datetime, *, woken: bool) -> None:
        with LOOKS_AT_ONCE:
            found = self.steps.progress(since)
        if not woken and found.stage is Stage.ASKED:
            found = Progress(Stage.STARTING, found.rows)
        self.progress = found

    def _is_over(self, began: float, *, woken: bool) -> bool:
        now = time.monotonic()
        return now - began > WAKE_SECONDS or (not woken and now - self.asked > ASKED_SECONDS)


def _pause(began: float) -> float:
    is_late = time.monotonic() - began > LATER_SECONDS
    return LATER_LOOK_SECONDS if is_late else LOOK_SECONDS
