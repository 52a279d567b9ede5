"""Asks the user for consent."""

from __future__ import annotations

import sys

from tasks.core.display import visible


def ask_consent(question: str) -> bool:
    """Return True if the user answers yes; False without a terminal.

    Args:
        question: one sentence, without the choice.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(visible(f"{question} [y/N] "), end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
