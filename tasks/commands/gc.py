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
    from tasks.app.environments import Sweeping
    from tasks.flows.gc import COLUMNS, TAG_COLUMNS
    from tasks.flows.views import now

    as_json = check_format(format)
    dry = dry_run or session.dry or not yes
    moment = now()
    sweeping = Sweeping(session, env, dry=dry)
    sweep = sweeping.plan(moment)
    if as_json:
        session.console.json(sweep.as_dict())
    if not as_json and sweep.stale:
        session.console.table(COLUMNS, sweep.rows(moment))
    if not as_json and sweep.leftovers:
        session.console.table(TAG_COLUMNS, sweep.tag_rows())
    if not sweep.steps:
        session.console.say(f"{sweep.environment}: nothing to sweep away")
    elif dry:
        session.console.say("nothing was removed; to remove them: inv gc --yes")
    else:
        sweeping.run(sweep)
