"""The data that a new environment begins with: a fresh installation's, or that of a seed."""

from __future__ import annotations

import re

from tasks.core.environment import Record
from tasks.core.errors import InputError, RefusedError
from tasks.core.names import database_prefix

EMPTY = "empty"
"""The choice of a fresh installation."""

CHOICE = r"^(empty|seed:[a-z0-9]{1,32})$"
"""A choice of data, as `inv deploy --data` and the settings take it."""


def check_choice(choice: str) -> str:
    """Return a choice of data, ``empty`` or ``seed:ID``.

    Raises:
        InputError: it is neither.
    """
    if not re.fullmatch(CHOICE, choice):
        raise InputError(
            f"--data {choice}: there is no such data", hint="give empty, or seed:ID of a seed"
        )
    return choice


def choose(wanted: str, default: str, record: Record | None, *, protected: bool) -> str:
    """Return the data of an environment: what it has, else what is wanted, else the default.

    Args:
        wanted: what was asked for, or an empty string.
        default: the environment's setting.
        record: what is stored of it, or None. Once a deploy has succeeded its data stays.
        protected: whether it is production's own.

    Raises:
        RefusedError: a protected environment would get a seed.
    """
    if record and record.current:
        return record.data or EMPTY
    chosen = wanted or (record.data if record else "") or default
    if protected and chosen != EMPTY:
        raise RefusedError(f"a protected environment gets no data of a seed ({chosen})")
    return chosen


def seed_database(choice: str, project: str) -> str:
    """Return the database of the seed that a choice names, or an empty string for ``empty``."""
    kind, _, id_ = choice.partition(":")
    return f"{database_prefix(project)}seed__{id_}" if kind == "seed" else ""
