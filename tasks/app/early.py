"""Handles Ctrl-C before a task has begun: one line instead of a traceback of imports.

It is the first import of ``tasks``. While a task runs, ``tasks.adapters.process`` handles signals.
"""

import itertools
import os
import signal
import sys
from pathlib import Path
from types import FrameType

INTERRUPTED = "interrupted; the same command can be run again"


def _is_program() -> bool:
    """Return True if this process is `inv`, and does not only import the tasks."""
    argv = sys.orig_argv
    modules = {("-m", name) for name in ("tasks", "invoke", "mautic_multidev")}
    if modules & set(itertools.pairwise(argv)):
        return True
    return len(argv) > 1 and Path(argv[1]).name in {"inv", "invoke", "mautic-multidev"}


def _quit(number: int, _: FrameType | None) -> None:
    # Nothing has been done that would have to be undone, and any import may be half-way.
    os.write(2, f"! {INTERRUPTED}\n".encode())
    os._exit(128 + number)


IS_PROGRAM = _is_program()
"""Whether this process is `inv`."""

if IS_PROGRAM and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _quit)
