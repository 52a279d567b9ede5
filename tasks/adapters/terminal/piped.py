"""What a pipe gets of a piece of work: its end; its lines if it fails; a sign of life if it lasts.

A terminal shows the beginning of work, and most lines of its programs, only while it lasts. Nobody
watches a pipe, so there these lines would stay, and bury the few that count.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

BEAT_SECONDS = 30.0
"""After how long without a line a pipe gets one that the work goes on; it then doubles."""
BEAT_MAX_SECONDS = 300.0
"""How long a pipe is left without a line at most: some CI systems end a job that is silent."""
BEAT_LENGTH = 100
"""How much is shown of the last line of a program that still runs."""
KEPT_LINES = 100
"""How many of the last lines are shown of work that fails."""


class PipedWork:
    """Withholds the lines of a piece of work until it fails.

    Args:
        title: of the work, safe to show.
        tell: prints a line.
        beat_seconds: after how long without a line the first sign of life is printed.
    """

    def __init__(
        self, title: str, tell: Callable[[str], None], *, beat_seconds: float = BEAT_SECONDS
    ) -> None:
        self._title = title
        self._tell = tell
        self._beat_seconds = beat_seconds
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._last = ""
        self._has_begun = False
        self._is_told = False
        self._ended = threading.Event()
        self._lock = threading.RLock()

    def say(self, text: str) -> None:
        """Print a line at once, below the title."""
        if text.strip():
            with self._lock:
                self._is_told = True
                self._below(text)

    def keep(self, text: str) -> None:
        """Keep a line, in case the work fails."""
        if text.strip():
            with self._lock:
                self._kept.append(text)
                self._last = text

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Print signs of life until the work ends, and the kept lines if it fails."""
        beat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        beat.start()
        try:
            yield
        except BaseException:
            self._end(beat)
            # Why the work has failed is more than that nobody reads any more.
            with contextlib.suppress(OSError):
                self._tell_kept()
            raise
        self._end(beat)

    def _beat(self) -> None:
        started, pause = time.monotonic(), self._beat_seconds
        while not self._ended.wait(pause):
            with self._lock:
                if not self._is_told:
                    pause = min(2 * pause, BEAT_MAX_SECONDS)
                    last = f": {self._last.strip()[:BEAT_LENGTH]}" if self._last else ""
                    # Whoever writes next gets the error of a pipe that nobody reads any more.
                    with contextlib.suppress(OSError):
                        self._below(f"{time.monotonic() - started:.0f} s{last}")
                self._is_told = False

    def _end(self, beat: threading.Thread) -> None:
        self._ended.set()
        beat.join()

    def _tell_kept(self) -> None:
        # What still reads a program's last lines may go on to keep some.
        with self._lock:
            self._begin()
            for text in self._kept:
                self._below(text)

    def _below(self, text: str) -> None:
        self._begin()
        self._tell(f"  {text}")

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._tell(f"{self._title} …")
