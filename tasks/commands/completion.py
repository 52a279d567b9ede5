"""inv completion: tasks, options, branches and more by the Tab key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.app.task import task
from tasks.core.completion import ADVICE, PLACES, SCRIPTS
from tasks.core.errors import InputError, SuiteError

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    positional=["shell"],
    help={"shell": "bash, zsh or fish", "show": "print it, for a place of your own"},
)
def completion(session: Session, shell: str, show: bool = False) -> None:
    """Complete tasks, options, branches, environments and tags in your shell, also after ./inv."""
    if shell not in SCRIPTS:
        raise InputError(f"{shell!r}: must be {', '.join(SCRIPTS)}")
    if show:
        session.console.data(SCRIPTS[shell].rstrip())
        return
    place = Path(PLACES[shell]).expanduser()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(SCRIPTS[shell])
    except OSError as error:
        raise SuiteError(
            f"{place} cannot be written: {error.strerror}",
            hint=f"print it, for a place of your own: inv completion {shell} --show",
        ) from error
    session.console.say(f"{PLACES[shell]}: written; it counts in shells that start from now on")
    if shell in ADVICE:
        session.console.say(ADVICE[shell].format(place=place))
