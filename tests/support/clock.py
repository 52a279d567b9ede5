"""A fake clock that advances only by its own sleep."""

from __future__ import annotations

from tasks.adapters.wait import Clock


class PlayedClock:
    """Replaces ``Clock`` in tests: waits of minutes pass at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.clock = Clock(lambda: self.now, self.sleep)

    @property
    def passed(self) -> float:
        """Seconds since it was created."""
        return self.now - 1000.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
