"""`inv` as ./inv starts it: invoke's own program, with exit code 2 for a misused command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from invoke import Program
from invoke.exceptions import Exit, ParseError


class Suite(Program):
    """invoke's program; only the exit code of a command line it cannot read differs (1 there)."""

    def parse_core(self, argv: list[str] | None) -> None:
        """Read invoke's own options."""
        with _usage_errors():
            super().parse_core(argv)

    def parse_collection(self) -> None:
        """Load the tasks and read ``--list`` and ``--help``."""
        with _usage_errors():
            super().parse_collection()

    def parse_tasks(self) -> None:
        """Read the tasks' options."""
        with _usage_errors():
            super().parse_tasks()


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    try:
        yield
    except ParseError as error:
        raise Exit(f"error: {error}", code=2) from error


if __name__ == "__main__":
    Suite(name="inv", binary="inv", binary_names=["inv"]).run()
