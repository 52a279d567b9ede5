"""Handles libraries' warnings: shows each once, in plain words, or hides it.

By default Python prints warnings and unhandled log records to stderr, with paths of the
installation, which do not help a user.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO

_FOR_DEVELOPERS = re.compile("Deprecat|Future|Dependency|Resource|Import")
"""Categories of warnings that only concern the suite's developers."""

_UNVERIFIED = re.compile("made to host '(?P<host>[^']+)'")
_LIBRARY = re.compile(r"[/\\](?:site|dist)-packages[/\\](\w+)")


def redirect_warnings(tell: Callable[[str], None]) -> None:
    """Stop libraries from writing to the terminal.

    With ``-W`` or PYTHONWARNINGS Python's own output is kept.

    Args:
        tell: called once with each warning that a user should see.
    """
    logging.getLogger().addHandler(logging.NullHandler())
    if sys.warnoptions:
        return
    told: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        words = user_message(str(message), category.__name__, filename)
        if words and words not in told:
            told.add(words)
            tell(words)

    warnings.showwarning = show


def user_message(message: str, category: str, filename: str) -> str:
    """Return the message that a user gets for a warning, or an empty string.

    Args:
        message: the warning's text.
        category: the name of its class.
        filename: the module that raised it.
    """
    if _FOR_DEVELOPERS.search(category):
        return ""
    if category == "InsecureRequestWarning":
        found = _UNVERIFIED.search(message)
        host = found["host"] if found else "the server"
        return (
            f"the certificate of {host} is not checked, as `insecure-skip-tls-verify` of the "
            "kubeconfig says: whoever is in between can read and change everything"
        )
    library = _LIBRARY.search(filename)
    return f"{library[1] if library else 'Python'} says: {' '.join(message.split())}"


@contextlib.contextmanager
def captured_errors() -> Iterator[list[str]]:
    """Collect the errors that libraries log in a block: some log the reason of a failure only."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(" ".join(record.getMessage().split()))

    ear = Ear(logging.ERROR)
    root = logging.getLogger()
    root.addHandler(ear)
    try:
        yield heard
    finally:
        root.removeHandler(ear)
