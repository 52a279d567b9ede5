"""Runs the command line in this process, with the same arguments, streams and exit codes."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from subprocess import CompletedProcess
from typing import Any
from unittest.mock import patch

from tasks.app.invoke_config import main
from tests.support.suite import ROOT, Inv


class InProcess:
    """Runs the suite's command line on this checkout, for what only parses, reads and prints.

    Whatever depends on the process itself (signals, pipes, what is imported) or on the state of a
    checkout is for ``Inv``.

    Args:
        inv: gives the command line and its environment.
    """

    def __init__(self, inv: Inv) -> None:
        self._inv = inv

    def __call__(
        self,
        *args: str,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        program: Callable[[], None] = main,
    ) -> CompletedProcess[str]:
        """Run `inv` to its end.

        Args:
            args: the task and its options.
            settings: what invoke.yaml is overridden with.
            env: variables added to the clean environment.
            program: what is run instead of the project's own command line.
        """
        argv = self._inv.argv(*args, settings=settings)
        argv = ["inv", *argv[argv.index("tasks") + 1 :]]
        out, err = _stream("surrogateescape"), _stream("backslashreplace")
        with (
            patch.object(sys, "argv", argv),
            patch.object(sys, "path", list(sys.path)),
            _module_kept("tasks"),
            patch.dict(os.environ, self._inv.environ(env), clear=True),
            warnings.catch_warnings(),
            contextlib.chdir(ROOT),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = _exit_code(program)
        return CompletedProcess(argv, code, _text(out), _text(err))


@contextlib.contextmanager
def _module_kept(name: str) -> Iterator[None]:
    """Restore a module: invoke reloads the collection under the same name."""
    module = sys.modules[name]
    try:
        yield
    finally:
        sys.modules[name] = module


def _exit_code(program: Callable[[], None]) -> int:
    try:
        program()
    except SystemExit as end:
        assert end.code is None or isinstance(end.code, int)
        return end.code or 0
    return 0


def _stream(errors: str) -> io.TextIOWrapper:
    """Return a replacement for a stream of a Python in UTF-8 mode."""
    return io.TextIOWrapper(io.BytesIO(), "utf-8", errors)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    stream.reconfigure(errors="replace")
    return stream.read()
