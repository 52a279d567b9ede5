"""What programs of the image say about the database's migrations."""

from __future__ import annotations

import re
from dataclasses import dataclass

MIGRATIONS = ("php", "bin/console", "doctrine:migrations:list", "--no-ansi", "--no-interaction")
"""The command, in a container of Mautic, whose output ``unavailable`` reads."""

_WORD = re.compile(r"^[a-z]+: (waiting|failed) \[[a-z-]+\]: (.+)$")
_ROW = re.compile(r"^\W*(?:\w+\\)*(\w+)\W+migrated, not available\W", re.ASCII)


@dataclass(frozen=True)
class Word:
    """What a program that waits for the database or its migration has said.

    Attributes:
        failed: whether it has given up.
        sentence: what it waits for, or why it gave up.
    """

    failed: bool
    sentence: str


def word_of(line: str) -> Word | None:
    """Return what a line says of a program that waits, or None for any other line.

    Args:
        line: ``NAME: waiting [CODE]: SENTENCE`` or ``NAME: failed [CODE]: SENTENCE``.
    """
    found = _WORD.match(line.strip())
    return Word(found[1] == "failed", found[2]) if found else None


def unavailable(table: str) -> tuple[str, ...]:
    """Return the migrations that a database has seen and its code does not have, by their names.

    Args:
        table: what ``doctrine:migrations:list`` prints.
    """
    rows = (_ROW.match(line) for line in table.splitlines())
    return tuple(row[1] for row in rows if row)
