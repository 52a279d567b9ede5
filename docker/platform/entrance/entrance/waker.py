"""Wakes environments, each in a thread of its own, however many visitors wait for it."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from entrance.pages import Progress, Stage
from entrance.waking import Steps, UnansweredError, Waking

log = logging.getLogger("entrance")

RESUME_SECONDS = 5
"""How often what another process has begun is looked for."""


@dataclass(frozen=True)
class Found:
    """An environment that there is.

    Attributes:
        name: its namespace or Compose project.
        sleeps: whether it was put to sleep, or is being woken from here.
    """

    name: str
    slug: str
    sleeps: bool
    steps: Steps


class Waker(ABC):
    """Wakes environments; where they run is up to its heirs."""

    def __init__(self) -> None:
        self._running: dict[str, Waking] = {}
        self._lock = threading.Lock()

    @abstractmethod
    def is_ready(self) -> bool:
        """Return True if it knows what there is."""

    @abstractmethod
    def find(self, host: str) -> Found | None:
        """Return the environment of a host name, or None.

        Args:
            host: the header ``Host``.
        """

    @abstractmethod
    def unfinished(self) -> Iterable[Found]:
        """Return what a process that is gone has begun to wake.

        Raises:
            UnansweredError: what runs it is away, or refuses.
        """

    def ask(self, found: Found) -> Waking:
        """Return the waking of an environment, begun unless it runs already."""
        with self._lock:
            waking = self._running.get(found.name)
            if waking is None:
                known = Progress(Stage.ASKED if found.sleeps else Stage.STARTING)
                waking = self._running[found.name] = Waking(found.name, found.steps, known)
                threading.Thread(
                    target=self._run, args=(waking, found.sleeps), name=found.name, daemon=True
                ).start()
            waking.asked = time.monotonic()
            return waking

    def start(self) -> None:
        """Go on with what a process that is gone has begun, in a thread of its own."""
        threading.Thread(target=self._resume_for_ever, name="resume", daemon=True).start()

    def _run(self, waking: Waking, sleeping: bool) -> None:
        if sleeping:
            log.info("%s: wakes", waking.name)
        try:
            waking.run(sleeping=sleeping)
        finally:
            with self._lock:
                del self._running[waking.name]
        if sleeping and waking.is_open.is_set():
            log.info("%s: is awake", waking.name)

    def _resume_for_ever(self) -> None:
        while True:
            try:
                for found in self.unfinished():
                    self.ask(found)
            except UnansweredError as error:
                log.warning("%s", error)
            time.sleep(RESUME_SECONDS)
