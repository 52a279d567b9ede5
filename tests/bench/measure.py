"""What every measurement shares: running a command, and the rows of the table."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One finished command.

    Attributes:
        seconds: how long it ran.
        processor: the seconds of processors that it and the programs that it ran have used.
        peak_mb: the most memory that it, or any program it ran, had at once.
    """

    seconds: float
    processor: float
    peak_mb: float


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        ours: the suite's figure.
        plain: the plain commands' figure.
        result: the two compared, as it is printed.
        limit: what it must not pass, as it is printed.
        holds: whether it does not.
    """

    what: str
    ours: str
    plain: str
    result: str
    limit: str
    holds: bool


def timed(argv: Sequence[str], *, cwd: Path, env: dict[str, str]) -> Run:
    """Run a command to its good end.

    Raises:
        RuntimeError: it failed; its output is in the message.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            command = " ".join(argv)
            raise RuntimeError(f"{command} exited {process.returncode}:\n{output.read()[-4000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def ratio(what: str, ours: float, plain: float, limit: float, *, unit: str = "s") -> Row:
    """Return the row of a ratio."""
    found = ours / plain
    return Row(
        *(what, f"{ours:.2f} {unit}", f"{plain:.2f} {unit}", f"{found:.3f}", f"<= {limit}"),
        found <= limit,
    )


def say(text: str) -> None:
    """Tell what is going on."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def show(rows: list[Row]) -> None:
    """Print the table."""
    heading = ("measured", "inv", "plain", "result", "limit", "")
    cells = [
        (row.what, row.ours, row.plain, row.result, row.limit, "" if row.holds else "PASSED OVER")
        for row in rows
    ]
    widths = [max(len(line[i]) for line in (heading, *cells)) for i in range(len(heading))]
    for line in (heading, *cells):
        padded = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())
