"""inv rehearse: an upgrade, tried out with a seed in an environment of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.out import out_file
from tasks.app.task import check_format, task, whole_number

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    help={
        "mautic": "version of Mautic to upgrade to, e.g. 7.2, or an image that holds one "
        "(default: images.mautic of what is checked out)",
        "seed": "id of the seed that is upgraded (default: the newest; inv db.seed --list)",
        "contacts": "take the newest seed that was made with so many contacts (default: any)",
        "out": "also write the report to this file: JSON if its name ends so, else Markdown",
        "keep": "leave the environment there afterwards; inv gc takes it after a day",
    }
)
def rehearse(
    session: Session,
    env: str = "",
    branch: str | None = None,
    mautic: str = "",
    seed: str = "",
    contacts: str = "0",
    out: str = "",
    keep: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Upgrade a seed's data in an environment that is then removed; tell what is slow or fails."""
    from tasks.app import rehearse as app
    from tasks.flows.rehearse import refuse_failures, show

    as_json = check_format(format)
    number = whole_number("contacts", contacts)
    report = out_file(out) if out else None
    rehearsing = app.rehearsing(
        session, env, branch, mautic=mautic, seed=seed, contacts=number, keep=keep
    )
    if dry_run or session.dry:
        session.console.plan(rehearsing.plan, as_json=as_json)
        return
    done = rehearsing.run()
    if as_json:
        session.console.json(done.as_dict())
    else:
        show(session.console, done)
    if report:
        app.write_report(report, done)
    refuse_failures(done)
