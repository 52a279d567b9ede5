"""One Terraform command by python-terraform, in a process of its own; run by its path.

python-terraform's ``cmd`` either keeps all output to the end or lets Terraform write to its
caller's own streams. Here these are the pipes that the suite reads line by line. They go through
this process, because Terraform dies of a broken pipe and would leave its lock: when the suite is
killed, Terraform is asked to end instead, and its last words are thrown away.

Arguments: the program, the directory, the command, its options as JSON, its arguments.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from typing import Any

STARTED = "@terraform"
"""First word of the first line on stderr; the number of the process group follows."""


def _relay(reading: int, writing: int) -> None:
    """Pass on everything until the last writer is gone, even when nobody reads it."""
    with os.fdopen(reading, "rb", buffering=0) as source:
        while chunk := source.read(65536):
            # The suite was killed: nobody reads.
            with contextlib.suppress(BrokenPipeError):
                os.write(writing, chunk)


def main() -> int:
    """Run the command; return its exit status."""
    import python_terraform

    program, where, command, options, *args = sys.argv[1:]
    suite = os.getppid()

    def end(_number: int, _frame: Any) -> None:
        # A signal to the group has reached Terraform as well. This one is the kernel's, for us
        # alone: the suite is gone.
        if os.getppid() != suite:
            os.killpg(0, signal.SIGINT)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    print(STARTED, os.getpgrp(), file=sys.stderr, flush=True)  # noqa: T201
    relays = []
    streams = {}
    for name, target in (("stdout", 1), ("stderr", 2)):
        reading, writing = os.pipe()
        streams[name] = os.fdopen(writing, "w")
        relays.append(threading.Thread(target=_relay, args=(reading, target)))
        relays[-1].start()
    sys.stdout, sys.stderr = streams["stdout"], streams["stderr"]
    terraform = python_terraform.Terraform(working_dir=where, terraform_bin_path=program)
    flags = {
        name: python_terraform.IsFlagged if value is True else value
        for name, value in json.loads(options).items()
    }
    try:
        status, _, _ = terraform.cmd(command, *args, capture_output=False, **flags)
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        for stream in streams.values():
            stream.close()
        for relay in relays:
            relay.join()
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
