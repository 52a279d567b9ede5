"""inv adopt: an environment whose repository was renamed or moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    help={
        "from": "address of the repository that the environment belongs to now",
        "name": "a protected environment's name once more, instead of typing it",
    }
)
def adopt(
    session: Session,
    from_: str = "",
    env: str = "",
    branch: str | None = None,
    name: str = "",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Take over an environment after this repository was renamed or moved."""
    from tasks.app.adoption import BranchAdoption
    from tasks.app.wiring import settled

    as_json = check_format(format)
    names = settled(session, session.names(env, branch))
    adopting = BranchAdoption(session, names, from_)
    plan = adopting.plan()
    if not as_json:
        session.console.table(("what", "value"), plan.rows())
    if dry_run or session.dry:
        session.console.plan(plan, as_json=as_json)
        return
    if as_json:
        session.console.json(plan.as_dict())
    if not plan.steps:
        session.console.say(f"{names.branch} is {plan.repository}'s already")
        return
    adopting.confirm(name)
    adopting.run(plan)
    session.console.success(f"{names.branch} is {plan.repository}'s now")
