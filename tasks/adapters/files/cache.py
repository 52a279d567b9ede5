"""The suite's cache folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the suite's folder in the user's cache (XDG Base Directory Specification).

    Args:
        environ: where XDG_CACHE_HOME and HOME are read.
    """
    named = environ.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    base = Path(named) if named.startswith("/") else Path(environ.get("HOME", "~")) / ".cache"
    return base.expanduser() / "mautic-multidev"
