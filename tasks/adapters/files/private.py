"""Files that only their owner may read: passwords and tokens."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> Path:
    """Write a file of mode 0600 and return its path; its folder must exist.

    An old file in its place is replaced, whatever its mode is; a link is never followed.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
    return path
