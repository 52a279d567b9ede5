"""What --out names: checked before anything is done that takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.adapters.files.new_file import check_new

if TYPE_CHECKING:
    from pathlib import Path


def check_out(path: Path) -> None:
    """Check that a file can be written for ``--out``; errors as for ``check_new``."""
    check_new(path, "--out")
