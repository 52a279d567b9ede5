"""The engine as a service of this machine: starts it, waits for it, stops one it has started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.process import Runner
from tasks.adapters.wait import wait_until
from tasks.core.doctor.packages import FixCommand
from tasks.core.errors import EngineError

START_SECONDS = 60.0
"""A first start makes the data directory and the bridge; on two slow cores that took 6 s."""

STOP_SECONDS = 60
_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class DockerService:
    """Starts and stops the engine; without a service manager it tracks dockerd by a pid file.

    Attributes:
        pidfile: the process id of a dockerd that this suite started.
        log: that dockerd's output.
        options: further options of dockerd.
    """

    runner: Runner
    pidfile: Path = Path("/run/mautic-multidev-dockerd.pid")
    log: Path = Path("/var/log/mautic-multidev-dockerd.log")
    options: tuple[str, ...] = ()

    def start(self, daemon: str, *, systemd: bool) -> FixCommand:
        """Return the command that starts the engine.

        Args:
            daemon: path of dockerd.
            systemd: whether systemd is this machine's service manager.
        """
        if systemd:
            return FixCommand(("systemctl", "enable", "--now", "docker"))
        return FixCommand(
            (
                *("start-stop-daemon", "--start", "--background", "--output", str(self.log)),
                # Its own pid file is dockerd's guard against a second one: this one is beside it.
                *("--make-pidfile", "--pidfile", str(self.pidfile)),
                *("--exec", daemon, *(("--", *self.options) if self.options else ())),
            )
        )

    def stop(self, daemon: str) -> FixCommand | None:
        """Return the command that stops the engine, or None if this suite did not start one.

        Args:
            daemon: path of dockerd, so that a stale pid file never hits another program.
        """
        if not self.pidfile.exists():
            return None
        return FixCommand(
            (
                *("start-stop-daemon", "--stop", "--oknodo", "--remove-pidfile"),
                *("--pidfile", str(self.pidfile), "--exec", daemon),
                *("--retry", f"TERM/{STOP_SECONDS}/KILL/5"),
            )
        )

    def wait(self, answers: Callable[[], bool], *, ours: bool) -> None:
        """Wait until the engine answers.

        Args:
            answers: returns whether it does.
            ours: whether this suite has started it, so that its log is known.

        Raises:
            EngineError: it did not answer in time, or exited; the error has the end of its log.
        """

        def late(_: str) -> EngineError:
            said = ""
            with contextlib.suppress(OSError):
                said = self.log.read_text(errors="replace") if ours else ""
            return EngineError(
                "the Docker Engine was started but does not answer",
                output=said,
                hint=f"its log: {self.log}" if ours else "its log: journalctl -u docker",
            )

        def is_there() -> bool:
            if answers():
                return True
            if ours and self._ended():
                raise late("")
            return False

        wait_until(
            "the Docker Engine does not answer",
            is_there,
            deadline_seconds=START_SECONDS,
            poll_seconds=_POLL_SECONDS,
            late=late,
        )

    def _ended(self) -> bool:
        """Return True if the started process has exited."""
        process = Path("/proc", self.pidfile.read_text().strip())
        try:
            # Ended but not yet waited for by its parent, it has no command line any more.
            return not (process / "cmdline").read_bytes()
        except FileNotFoundError:
            return True
