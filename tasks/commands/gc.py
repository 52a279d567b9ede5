"""inv gc: the environments that nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(help={"yes": "remove them; without it they are only listed"})
def gc(
    session: Session,
    env: str = "",
    yes: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Remove environments whose branch is gone or whose time is over, and tags of gone branches."""
    from tasks.app.environments import EnvironmentSweep
    from tasks.flows.views import unreadable_lines

    as_json = check_format(format)
    dry = dry_run or session.dry or not yes
    sweeping = EnvironmentSweep(session, env, dry=dry)
    sweep = sweeping.plan()
    for line in unreadable_lines(sweep.unreadable):
        session.console.warn(line)
    if as_json:
        session.console.json(sweep.as_dict())
    else:
        for columns, rows in sweep.tables(sweeping.now):
            session.console.table(columns, rows)
    if not sweep.steps:
        session.console.say(f"{sweep.environment}: nothing to sweep away")
    elif dry:
        session.console.say("nothing was removed; to remove them: inv gc --yes")
    else:
        sweeping.run(sweep)
