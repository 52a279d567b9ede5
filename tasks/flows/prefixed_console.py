"""A console for one of several environments that a run works on at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tasks.adapters.terminal.console import Activity


class PrefixedConsole:
    """A console within one piece of work: it prefixes each line with the branch."""

    def __init__(self, branch: str, activity: Activity) -> None:
        self._branch = branch
        self._activity = activity

    def say(self, text: str) -> None:
        """Show a message as a transient line."""
        self._activity.line(f"{self._branch}: {text}")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._activity.say(f"{self._branch}: {text}")

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        """Yield an activity whose messages are shown as transient lines."""
        yield Activity(self.say, self.say)
