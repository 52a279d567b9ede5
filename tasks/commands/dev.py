"""inv dev: a branch's environment shows the working tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    help={
        "xdebug": "with Xdebug, which connects to port 9003 of this machine when a request has its "
        "trigger (XDEBUG_TRIGGER)",
        "stop": "undo what a killed inv dev has left: go back to the deployed images",
    }
)
def dev(
    session: Session,
    env: str = "",
    branch: str | None = None,
    xdebug: bool = False,
    stop: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Show plugins, themes, translations and config of the working tree as saved, until Ctrl-C."""
    from tasks.app import dev as app

    as_json = check_format(format)
    if stop and xdebug:
        raise InputError("give --stop alone")
    found = app.find(session, env, branch, debugger=xdebug, stop=stop)
    if dry_run or session.dry:
        session.console.plan(found.plan(stop=stop), as_json=as_json)
    elif not stop:
        found.make_ready()
        found.run()
    elif found.stop():
        session.console.success(f"{found.shown.title} runs what was deployed")
    else:
        session.console.say(f"{found.shown.title}: no inv dev has left anything")
