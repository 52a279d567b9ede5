"""Files that only their owner may read: passwords and tokens."""

from __future__ import annotations

from pathlib import Path


def write_private(path: Path, content: bytes) -> Path:
    """Write a file of mode 0600 and return its path; its folder must exist."""
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path
