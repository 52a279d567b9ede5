"""The checkout's .venv, and the development packages that tests need in it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.adapters.host import install
from tasks.adapters.process import Runner
from tasks.core.errors import MissingToolError

INSTALL_SECONDS = 1800.0


class Venv:
    """The checkout's .venv."""

    def __init__(self, runner: Runner, root: Path) -> None:
        self._runner = runner
        self._root = root
        self._path = root / ".venv"
        self._lock = root / "requirements.lock"
        self._dev_lock = root / "requirements-dev.lock"

    def program(self, name: str) -> str:
        """Return the path of a program that is installed in it."""
        return str(self._path / "bin" / name)

    def is_ready(self) -> bool:
        """Return True if both locks are installed in their present state."""
        return all(install.is_copied(lock, self._path) for lock in (self._lock, self._dev_lock))

    def prepare(self, on_line: Callable[[str], None]) -> None:
        """Install both locks; packages of requirements.lock that are there are kept.

        Args:
            on_line: called with each line of the installer's output.

        Raises:
            MissingToolError: there is no .venv, or one that an interrupted install left.
            CommandError: the installer failed.
        """
        with self._exclusive():
            if self.is_ready():
                return
            if not (self._path / self._lock.name).exists():
                hint = "run ./inv --list, which makes it"
                raise MissingToolError(f"there is no complete {self._path}", hint=hint)
            program = [self.program("python"), "-I", str(Path(install.__file__))]
            argv = [*program, str(self._lock), str(self._dev_lock)]
            self._runner.run(argv, deadline=INSTALL_SECONDS, on_line=on_line)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the lock that ./inv takes as well while it makes .venv."""
        with self._lock.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
