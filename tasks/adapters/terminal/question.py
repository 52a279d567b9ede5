"""Asks the user for a word."""

from __future__ import annotations

import sys

from tasks.core.display import visible


def ask(question: str, default: str = "") -> str:
    """Return the user's answer; without a terminal, or an answer, the default.

    Args:
        question: what is asked for, without the default.
        default: shown behind it.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return default
    shown = f" [{default}]" if default else ""
    print(visible(f"{question}{shown}: "), end="", file=sys.stderr, flush=True)  # noqa: T201
    return sys.stdin.readline().strip() or default
