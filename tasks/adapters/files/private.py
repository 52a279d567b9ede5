"""Files that hold what nobody else may read, such as passwords and tokens."""

from __future__ import annotations

from pathlib import Path


def write_private(path: Path, content: bytes) -> Path:
    """Write a file that its owner alone may read, from the first byte on; return its path.

    Args:
        path: where to; its folder must exist.
        content: what it is to hold.
    """
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
