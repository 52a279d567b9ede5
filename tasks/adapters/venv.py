"""The virtual environment that ./inv made, and what the tests need on top of it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.adapters.process import Runner
from tasks.core.errors import MissingToolError

INSTALL_SECONDS = 1800.0


class Venv:
    """The checkout's .venv.

    Args:
        runner: runs pip.
        root: the checkout.
    """

    def __init__(self, runner: Runner, root: Path) -> None:
        self._runner = runner
        self._path = root / ".venv"
        self._lock = root / "requirements-dev.lock"
        # noxfile.py reads the same stamp: what is installed here is not installed again there.
        self._stamp = self._path / ".dev-lock"

    def program(self, name: str) -> str:
        """Return the path of a program that is installed in it."""
        return str(self._path / "bin" / name)

    def is_ready(self) -> bool:
        """Say whether everything of requirements-dev.lock is installed."""
        with contextlib.suppress(FileNotFoundError):
            return self._stamp.read_text().strip() == self._wanted()
        return False

    def prepare(self, on_line: Callable[[str], None]) -> None:
        """Install requirements-dev.lock; its packages include those of requirements.lock.

        Args:
            on_line: told pip's output.

        Raises:
            MissingToolError: there is no .venv.
            CommandError: pip failed.
        """
        python = self.program("python")
        if not Path(python).exists():
            raise MissingToolError(f"there is no {self._path}", hint="run ./inv, which makes it")
        argv = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        argv += ["--progress-bar", "off", "--require-hashes", "--requirement", str(self._lock)]
        with self._exclusive():
            if self.is_ready():
                return
            self._runner.run(argv, env={"PIP_USER": "0"}, deadline=INSTALL_SECONDS, on_line=on_line)
            self._stamp.write_text(f"{self._wanted()}\n")

    def _wanted(self) -> str:
        return hashlib.sha256(self._lock.read_bytes()).hexdigest()

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let one run at a time install."""
        with self._lock.open() as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
