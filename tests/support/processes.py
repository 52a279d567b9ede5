"""What any user, or the machine's root, can read of other processes while something runs.

It is read by a process of its own: a thread that reads all of /proc over and over would take the
interpreter from the node and the servers that tests play in theirs.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

PAUSE_SECONDS = 0.01


@contextlib.contextmanager
def watched_processes(mark: str = "") -> Iterator[set[str]]:
    """Collect command line and environment of every process there is meanwhile.

    The environment of what runs in a container stays the container's own.

    Args:
        mark: what a process has to have in either; with none, every process counts.

    Yields:
        Filled at the end: each process' command line and environment, joined by NUL.
    """
    seen: set[str] = set()
    watcher = subprocess.Popen(
        [sys.executable, "-S", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert watcher.stdin and watcher.stdout
    try:
        assert watcher.stdout.readline(), "nobody watches"
        yield seen
    finally:
        out, _ = watcher.communicate()
        seen.update(one for one in json.loads(out) if mark in one)


def _watch() -> None:
    own, seen, is_over = Path("/proc/self/ns/pid").readlink(), set(), threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set())).start()
    print("it watches", flush=True)  # noqa: T201 - to whoever started it
    while not is_over.wait(PAUSE_SECONDS):
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                told = (process / "cmdline").read_bytes()
                if (process / "ns" / "pid").readlink() == own:
                    told += b"\0" + (process / "environ").read_bytes()
                seen.add(told.decode(errors="replace"))
    print(json.dumps(sorted(seen)))  # noqa: T201 - to whoever started it


if __name__ == "__main__":
    _watch()
