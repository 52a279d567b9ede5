"""Files that appear in one step: readers see the old text or the new one."""

from __future__ import annotations

import tempfile
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file of mode 0644 in one step; two runs may do so at the same time.

    It is for what holds no secret, and is read by other users: jobs that come later.
    """
    write_whole_bytes(path, text.encode())


def write_whole_bytes(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file in one step, likewise."""
    with tempfile.NamedTemporaryFile(
        "wb", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        file.write(content)
    fresh = Path(file.name)
    fresh.chmod(mode)
    fresh.replace(path)
