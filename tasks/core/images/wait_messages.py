"""Parses the messages of the images' programs while they wait; a rollout is judged by them.

A waiting program writes, at once and again whenever the sentence changes::

    NAME: waiting [CODE]: SENTENCE
    NAME: failed [CODE]: SENTENCE

The second one is its last line before it exits. Any other line of the program itself begins with
``NAME:``, too, and means that it made progress.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

DATABASE = "database"
"""The prefix of all codes about the database."""

_OWN = re.compile(r"(migrate|wait|database): ")
_WORDS = re.compile(
    r"(?:migrate|wait|database): (?P<state>waiting|failed) \[(?P<code>[a-z][a-z-]*)\]: ?"
    r"(?P<sentence>.*)"
)


@dataclass(frozen=True)
class WaitMessage:
    """A message of a waiting program.

    Attributes:
        code: the reason, from a short list.
        sentence: the reason in words.
        final: whether the program has given up.
    """

    code: str
    sentence: str
    final: bool


@dataclass(frozen=True)
class ContainerMessages:
    """The messages of one run of a container so far.

    Attributes:
        line: its last line.
        words: its present message, or None if it is not waiting.
        since: when it began to wait for that reason.
    """

    line: str = ""
    words: WaitMessage | None = None
    since: datetime | None = None

    def then(self, line: str, when: datetime) -> ContainerMessages:
        """Return the state after one more line."""
        if not line.strip():
            return self
        words = parse_message(line)
        if words is None:
            # A program that it has called may write something in between.
            kept = None if is_own(line) else self.words
            return ContainerMessages(line, kept, self.since if kept else None)
        same = self.words is not None and _kind(self.words) == _kind(words)
        return ContainerMessages(line, words, self.since if same else when)


def parse_message(line: str) -> WaitMessage | None:
    """Return the message in a line, or None if it has none."""
    found = _WORDS.fullmatch(line.strip())
    if found is None:
        return None
    return WaitMessage(found["code"], found["sentence"], found["state"] == "failed")


def last_message(text: str) -> WaitMessage | None:
    """Return the last message in the end of a log, e.g. in a termination message."""
    return next(filter(None, map(parse_message, reversed(text.splitlines()))), None)


def is_own(line: str) -> bool:
    """Return True if a line is from the program itself, not from one that it called."""
    return bool(_OWN.match(line))


def _kind(words: WaitMessage) -> tuple[str, bool]:
    # A database that first refuses and then is unreachable was unavailable all the time.
    is_database = words.code.startswith(DATABASE)
    return DATABASE if is_database else words.code, words.final
