"""The local platform's waker, which a visitor's browser asks: what it is given."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tasks.adapters.docker.engine import Engine

SERVICES = ("gate", "waker")
"""In docker/platform/compose.yaml, with the profile ``wake``."""


def waker_variables(engine: Engine, locks: Callable[[], Path]) -> dict[str, str]:
    """Return its variables of docker/platform/compose.yaml, but for its image.

    Args:
        locks: returns the folder of the suite's locks.

    Raises:
        EngineError: the engine has no socket on this machine.
        SuiteError: strangers can write to the folder of locks.
    """
    folder = locks()
    return {
        "ENGINE_SOCKET": engine.socket,
        "LOCKS": str(folder),
        # Whose the lock files are: a group's, where several users share the folder.
        "LOCKS_USER": f"{os.getuid()}:{folder.stat().st_gid}",
    }
