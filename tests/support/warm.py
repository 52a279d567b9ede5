"""Runs `inv` again and again in one checkout without importing everything anew."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SERVER = Path(__file__).with_name("warm_server.py")


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
        pipes = [os.pipe() for _ in range(3)]
        request = json.dumps([list(words), dict(variables)]).encode()
        socket.send_fds(self._control, [request], [writer for _, writer in pipes])
        for _, writer in pipes:
            os.close(writer)
        out, err, told = (os.fdopen(reader, errors="replace") for reader, _ in pipes)
        with out, err, told, ThreadPoolExecutor(3) as readers:
            run = int(told.readline())
            parts = [readers.submit(stream.read) for stream in (out, err, told)]
            try:
                said, complained, status = (part.result(timeout) for part in parts)
            except TimeoutError as error:
                os.kill(run, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(words), timeout) from error
        return subprocess.CompletedProcess(["inv", *words], int(status), said, complained)

    def close(self) -> None:
        """End the process that runs are forked from."""
        self._control.close()
        self._server.wait()
