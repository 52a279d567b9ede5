"""Having the person at the terminal type a word: for what cannot be undone."""

from __future__ import annotations

import sys


def confirm_by_typing(word: str, question: str) -> bool:
    """Return whether the person at the terminal types a word; without a terminal nobody does.

    Args:
        word: what must be typed.
        question: what it is about, one sentence.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{question} Type {word} to go on: ", end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip() == word
