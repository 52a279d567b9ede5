"""Reads the state of migrations from the output of Mautic's console."""

from __future__ import annotations

import re

MIGRATIONS = ("php", "bin/console", "doctrine:migrations:list", "--no-ansi", "--no-interaction")
"""The command, in a container of Mautic, whose output ``unavailable`` reads."""

_ROW = re.compile(r"^\W*(?:\w+\\)*(\w+)\W+migrated, not available\W", re.ASCII)


def unavailable_migrations(table: str) -> tuple[str, ...]:
    """Return the names of migrations that the database has executed and the code does not have.

    Args:
        table: what ``doctrine:migrations:list`` prints.
    """
    rows = (_ROW.match(line) for line in table.splitlines())
    return tuple(row[1] for row in rows if row)
