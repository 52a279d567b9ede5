"""The files that options name to be written: checked before anything is done that takes long."""

from __future__ import annotations

from pathlib import Path

from tasks.adapters.files.new_file import check_new
from tasks.core.errors import InputError

STDOUT = "-"
"""What other programs write to stdout for."""


def named_file(option: str, name: str) -> Path:
    """Return the file that an option names.

    Raises:
        InputError: it names stdout, as other programs understand it.
    """
    if name == STDOUT:
        raise InputError(
            f"{option} {name}: it is written to a file, and never to stdout",
            hint=f"a file of this name is ./{name}",
        )
    return Path(name)


def out_file(name: str) -> Path:
    """Return the file that ``--out`` names; errors as for ``check_new``."""
    path = named_file("--out", name)
    check_new(path, "--out")
    return path


def check_summary(name: str) -> None:
    """Check what ``--summary`` names, if anything; errors as for ``check_new``."""
    if name:
        check_new(named_file("--summary", name), "--summary", appended=True)
