"""What libraries have to say by themselves: told once in our words, or not at all.

Python prints warnings, and log records that nobody takes, to stderr as they are, with a path in
somebody's installation. That is nothing to show a user.
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
"""Names of warnings about how a library is used or installed: for those who write the suite."""

_UNVERIFIED = re.compile("made to host '(?P<host>[^']+)'")
_LIBRARY = re.compile(r"[/\\](?:site|dist)-packages[/\\](\w+)")


def redirect_warnings(tell: Callable[[str], None]) -> None:
    """Let no library write to the user's terminal any more.

    Whoever asks Python for warnings, by ``-W`` or PYTHONWARNINGS, gets them as they are.

    Args:
        tell: told once what a user should know.
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
    """Return what a user is told of a warning, or an empty string.

    Args:
        message: the warning's text.
        category: the name of its class.
        filename: the module that it came from.
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
    """Collect what libraries log in a block as an error: some only log why they failed."""
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
