"""Asking the person at the terminal."""

from __future__ import annotations

import sys


def ask_consent(question: str) -> bool:
    """Return whether the person at the terminal says yes; without a terminal nobody does.

    Args:
        question: one sentence; the choice is added.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
