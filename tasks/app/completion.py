"""Looks up what completes a command line: branches, environments, stacks, commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tasks.core import completion
from tasks.core.errors import SuiteError

if TYPE_CHECKING:
    from invoke.parser import ParserContext

    from tasks.app.session import Session

COMMITS_SHOWN = 20


def options_of(contexts: Mapping[str, ParserContext]) -> dict[str, dict[str, str]]:
    """Return each task's options as they are typed, with the names of those that take a value."""
    return {
        task: {
            flag: argument.name if argument.takes_value else ""
            for flag, argument in context.flags.items()
        }
        for task, context in contexts.items()
        if task
    }


def look_up(session: Session, what: str) -> Sequence[str]:
    """Return what there is, or nothing: whoever presses a key has no use for an error."""
    try:
        match what:
            case completion.BRANCHES:
                return sorted(session.git.branches())
            case completion.ENVIRONMENTS:
                return sorted(session.settings.environments)
            case completion.STACKS:
                return sorted(session.settings.stacks)
            case _:
                return session.git.recent(COMMITS_SHOWN)
    except SuiteError:
        return []
