"""A pseudo-terminal: what a person at a terminal of 80 columns would see and type."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


class Terminal:
    """Runs a program on a terminal of its own.

    Args:
        argv: the program and its arguments.
        cwd: the directory it runs in.
        env: its whole environment; this process's own by default.
        columns: the terminal's width.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
    ) -> None:
        self._screen, inside = pty.openpty()
        self.resize(columns)
        environ = {**(os.environ if env is None else env), "TERM": "xterm-256color"}
        # rich and others would believe these rather than the terminal.
        for name in ("COLUMNS", "LINES"):
            environ.pop(name, None)
        self._process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=environ,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            # Makes it the controlling terminal: Ctrl-C typed there is a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(inside)
        self.raw = ""
        """Everything the program has written, as it was written."""

    @property
    def text(self) -> str:
        """What was written, without escape sequences."""
        return _ESCAPES.sub("", self.raw)

    def expect(self, text: str, deadline_seconds: float = 60) -> None:
        """Read until a text has appeared."""
        end = time.monotonic() + deadline_seconds
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} did not appear in:\n{self.text}"
            if not self._read(0.1) and self._process.poll() is not None:
                assert text in self.text, f"it ended without {text!r}:\n{self.text}"

    def type(self, keys: str) -> None:
        """Type something."""
        os.write(self._screen, keys.encode())

    def resize(self, columns: int) -> None:
        """Make the terminal wider or narrower."""
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        self._process.send_signal(number)

    def finish(self, deadline_seconds: float = 60) -> int:
        """Read until the program has ended; return its exit status."""
        end = time.monotonic() + deadline_seconds
        while self._process.poll() is None:
            self._read(0.1)
            if time.monotonic() > end:
                self._process.kill()
                raise AssertionError(f"it did not end:\n{self.text}")
        while self._read(0):
            pass
        os.close(self._screen)
        return self._process.wait()

    def _read(self, wait_seconds: float) -> bool:
        ready, _, _ = select.select([self._screen], [], [], wait_seconds)
        if not ready:
            return False
        chunk = b""
        # Linux answers EIO once the last program has closed the other end.
        with contextlib.suppress(OSError):
            chunk = os.read(self._screen, 65536)
        self.raw += chunk.decode(errors="replace")
        return bool(chunk)
