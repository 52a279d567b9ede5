"""What a program of the images says while it waits: its words, as a rollout judges by them.

Every program of the images that waits writes, at once and again whenever the sentence changes::

    NAME: waiting [CODE]: SENTENCE
    NAME: failed [CODE]: SENTENCE

The second one is its last line before it ends. Any other line of its own begins with ``NAME:``,
too, and means that it has got on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

DATABASE = "database"
"""What the codes of everything begin with that is wrong with the database."""

_OWN = re.compile(r"(migrate|wait|database): ")
_WORDS = re.compile(
    r"(?:migrate|wait|database): (?P<state>waiting|failed) \[(?P<code>[a-z][a-z-]*)\]: ?"
    r"(?P<sentence>.*)"
)


@dataclass(frozen=True)
class WaitMessage:
    """What a program waits for.

    Attributes:
        code: the reason, from a short list.
        sentence: the reason in words.
        final: whether it has given up.
    """

    code: str
    sentence: str
    final: bool


@dataclass(frozen=True)
class ContainerMessages:
    """What one run of a container has said so far.

    Attributes:
        line: its last line.
        words: what it waits for, or None when it waits for nothing.
        since: when it began to wait for that.
    """

    line: str = ""
    words: WaitMessage | None = None
    since: datetime | None = None

    def then(self, line: str, when: datetime) -> ContainerMessages:
        """Return what has been said after one more line."""
        if not line.strip():
            return self
        words = parse_message(line)
        if words is None:
            # A program that it has called may say something in between.
            kept = None if is_own(line) else self.words
            return ContainerMessages(line, kept, self.since if kept else None)
        same = self.words is not None and _kind(self.words) == _kind(words)
        return ContainerMessages(line, words, self.since if same else when)


def parse_message(line: str) -> WaitMessage | None:
    """Return what a line says of waiting, or None when it says nothing of it."""
    found = _WORDS.fullmatch(line.strip())
    if found is None:
        return None
    return WaitMessage(found["code"], found["sentence"], found["state"] == "failed")


def last_message(text: str) -> WaitMessage | None:
    """Return the last words of a log's end, such as a container's termination message."""
    return next(filter(None, map(parse_message, reversed(text.splitlines()))), None)


def is_own(line: str) -> bool:
    """Return True if a line is one of the program itself, and not of what it has called."""
    return bool(_OWN.match(line))


def _kind(words: WaitMessage) -> tuple[str, bool]:
    # A database that refuses now and is unreachable then has been away all the time.
    is_database = words.code.startswith(DATABASE)
    return DATABASE if is_database else words.code, words.final
