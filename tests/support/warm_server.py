"""Serves runs of `inv` in the checkout that it is started in: `python warm_server.py FD`.

Each run is a process of its own, forked from this one, in which everything is imported already:
half of what a run costs. It has the arguments, variables and streams of the request, and ends as
`python -m tasks` does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import sys

LIBRARIES = ("docker", "kubernetes.client", "requests", "rich.live", "rich.table", "yaml")
"""What the suite imports where it is used."""
READS_VARIABLES = "kubernetes.config.kube_config"
"""A module that asks for a variable when it is imported."""


def serve(control: socket.socket) -> None:
    """Fork for each request; return in the process of a run alone.

    Args:
        control: gives requests: arguments, variables and whether in a process group of its own,
            with descriptors for stdout, stderr and what is told of the run: its process number,
            then its status.
    """
    import tasks

    for module in pkgutil.walk_packages(tasks.__path__, "tasks."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    # A collection in a fork would copy every page.
    gc.freeze()
    # Nobody waits for the keepers.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, 1 << 20, 3)
        if not request:
            sys.exit()
        if os.fork() == 0:
            control.close()
            return _keep(json.loads(request), *descriptors)
        for each in descriptors:
            os.close(each)


def _keep(request: tuple[list[str], dict[str, str], bool], out: int, err: int, told: int) -> None:
    """Fork once more: wait for the run and tell of it; return in the run."""
    words, variables, alone = request
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if run := os.fork():
        os.close(out)
        os.close(err)
        _, status = os.waitpid(run, 0)
        _tell(told, os.waitstatus_to_exitcode(status))
        os._exit(0)
    if alone:
        os.setsid()
    # Before anything else can be: whoever is told may send it signals.
    _tell(told, os.getpid())
    os.dup2(out, 1)
    os.dup2(err, 2)
    for each in (out, err, told):
        os.close(each)
    os.environ.clear()
    os.environ.update(variables)
    importlib.reload(sys.modules[READS_VARIABLES])
    sys.argv = ["tasks", *words]


def _tell(told: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # a test has ended without waiting for it
        os.write(told, number.to_bytes(4, "little", signed=True))


if __name__ == "__main__":
    # As -m has it.
    sys.path[0] = os.getcwd()  # noqa: PTH109
    sys.orig_argv = [sys.orig_argv[0], "-m", "tasks"]
    serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module("tasks", run_name="__main__", alter_sys=True)
