"""Looks up what completes a command line: branches, environments, stacks, commits, releases."""

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
            flag: context.flags[flag].name.strip("_") if context.flags[flag].takes_value else ""
            for flag in (*context.flags, *context.flags.aliases)
        }
        for task, context in contexts.items()
        if task
    }


def look_up(session: Session, what: str, given: Mapping[str, str]) -> Sequence[str]:
    """Return what there is, or nothing: whoever presses a key has no use for an error.

    Args:
        session: the run.
        what: ``completion.BRANCHES`` and the like.
        given: the values of the options given before, by name.
    """
    try:
        match what:
            case completion.BRANCHES:
                return sorted(session.git.branches())
            case completion.ENVIRONMENTS:
                return sorted(session.settings.environments)
            case completion.STACKS:
                return sorted(session.settings.stacks)
            case completion.RELEASES:
                return _releases(session, given.get("env", ""), given.get("branch"))
            case _:
                return session.git.recent(COMMITS_SHOWN)
    except SuiteError:
        return []


def _releases(session: Session, env: str, branch: str | None) -> list[str]:
    """Return the tags of a branch's earlier releases on this machine, the latest first.

    Not those in a cluster, whose answer may take longer than a key.
    """
    from tasks.app import wiring
    from tasks.flows.target import owner_of

    names = session.names(env, branch)
    if session.settings.environment(names.environment).target == "kubernetes":
        return []
    names = wiring.settled(session, names)
    owner = owner_of(names, session.git.repository())
    record = wiring.target(session, names.environment).inspector.record(owner, names)
    history = record.history if record else ()
    now = record.current.tag if record and record.current else ""
    return [tag for tag in dict.fromkeys(each.tag for each in reversed(history)) if tag != now]
