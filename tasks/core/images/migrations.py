"""What the console of the image says about the database's migrations."""

from __future__ import annotations

import re

MIGRATIONS = ("php", "bin/console", "doctrine:migrations:list", "--no-ansi", "--no-interaction")
"""The command, in a container of Mautic, whose output ``unavailable`` reads."""

_ROW = re.compile(r"^\W*(?:\w+\\)*(\w+)\W+migrated, not available\W", re.ASCII)


def unavailable_migrations(table: str) -> tuple[str, ...]:
    """Return the migrations that a database has seen and its code does not have, by their names.

    Args:
        table: what ``doctrine:migrations:list`` prints.
    """
    rows = (_ROW.match(line) for line in table.splitlines())
    return tuple(row[1] for row in rows if row)
