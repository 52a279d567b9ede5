"""Numbers of things in words."""

from __future__ import annotations


def number_of(count: int, what: str) -> str:
    """Return how many there are: ``1 node``, ``2 nodes``.

    Args:
        what: the word for one, whose plural has an ``s``.
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
