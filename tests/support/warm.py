"""Runs `inv` again and again in one checkout without importing everything anew."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

SERVER = Path(__file__).with_name("warm_server.py")
NUMBER_BYTES = 4


class Forked:
    """A run of `inv`, as `subprocess.Popen` has it, as far as the tests need that.

    Attributes:
        pid: its process number, and that of its process group if it has one of its own.
        returncode: None while it runs.
    """

    def __init__(self, words: Sequence[str], out: int, err: int, told: int) -> None:
        self.args = ["inv", *words]
        self.stdout = os.fdopen(out, errors="replace")
        self.stderr = os.fdopen(err, errors="replace")
        self.returncode: int | None = None
        self._told = os.fdopen(told, "rb", buffering=0)
        self._reading = threading.Lock()
        self._readers: list[_Reader] = []
        self.pid = self._number()

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; return its exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read all that it says until it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after so many seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        self._readers = self._readers or [_Reader(self.stdout), _Reader(self.stderr)]
        for reader in self._readers:
            reader.join(None if end is None else max(0, end - time.monotonic()))
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if end is None else max(0, end - time.monotonic()))
        out, err = (reader.text for reader in self._readers)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], seconds)[0]:
            with self._reading:
                if self.returncode is None:
                    self.returncode = self._number()
        return self.returncode

    def _number(self) -> int:
        told = self._told.read(NUMBER_BYTES)
        if len(told) != NUMBER_BYTES:
            raise ChildProcessError("whoever forks, or waits for, runs of inv has ended")
        return int.from_bytes(told, "little", signed=True)


class _Reader(threading.Thread):
    """Reads a stream to its end."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.text = ""
        self.start()

    def run(self) -> None:
        self.text = self._stream.read()


class Warm:
    """Runs of `inv` in a checkout, each in a process that is forked from one.

    The modules of `tasks` are those of its beginning. It ends with this process.

    Args:
        python: Python, with its options.
        checkout: where the runs are.
        variables: those of the process that runs are forked from.
    """

    def __init__(self, python: Sequence[str], checkout: Path, variables: Mapping[str, str]) -> None:
        # Whole messages, from any thread.
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._server = subprocess.Popen(
                [*python, str(SERVER), str(theirs.fileno())],
                cwd=checkout,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self, words: Sequence[str], variables: Mapping[str, str], *, alone: bool = True
    ) -> Forked:
        """Start `inv`, with nothing to read.

        Args:
            words: the command line.
            variables: all of the run's.
            alone: whether in a process group of its own.
        """
        pipes = [os.pipe() for _ in range(3)]
        request = json.dumps([list(words), dict(variables), alone]).encode()
        socket.send_fds(self._control, [request], [writer for _, writer in pipes])
        for _, writer in pipes:
            os.close(writer)
        return Forked(words, *(reader for reader, _ in pipes))

    def run(
        self, words: Sequence[str], variables: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv` to its end, with nothing to read.

        Args:
            words: the command line.
            variables: all of the run's.
            timeout: seconds after which it is killed.

        Raises:
            subprocess.TimeoutExpired: it was.
        """
        forked = self.start(words, variables, alone=False)
        try:
            out, err = forked.communicate(timeout)
        except BaseException:
            forked.kill()
            raise
        return subprocess.CompletedProcess(forked.args, forked.wait(), out, err)

    def close(self) -> None:
        """End the process that runs are forked from."""
        self._control.close()
        self._server.wait()
