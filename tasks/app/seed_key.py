"""The key that seeds are encrypted with, from the variable that the settings name."""

from __future__ import annotations

import os
import re

from tasks.app.session import Session
from tasks.core.errors import InputError

_KEY = re.compile(r"[0-9a-fA-F]{64}")


def seed_key(session: Session) -> str:
    """Return the key of seeds; the redactor hides it from now on.

    Raises:
        InputError: the variable is not set, or holds none.
    """
    name = session.settings.seeds.key
    key = os.environ.get(name, "")
    session.redactor.add(key)
    if not _KEY.fullmatch(key):
        raise InputError(
            f"the variable {name} must hold the seeds' key, 64 hexadecimal digits"
            if key
            else f"the variable {name}, which holds the seeds' key, is not set",
            hint="make one with `openssl rand -hex 32`, and keep it as a masked variable of CI",
        )
    return key


def has_seed_key(session: Session) -> bool:
    """Return True if the variable is set."""
    return bool(os.environ.get(session.settings.seeds.key))
