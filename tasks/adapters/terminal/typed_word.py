"""Makes the user type a word before something that cannot be undone."""

from __future__ import annotations

import sys

from tasks.core.display import visible


def confirm_by_typing(word: str, question: str) -> bool:
    """Return True if the user types a word; False without a terminal.

    Args:
        word: what must be typed.
        question: one sentence about the consequences.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    text = visible(f"{question} Type {word} to go on: ")
    print(text, end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip() == word
