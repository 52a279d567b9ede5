"""inv db.seed: masked copies of an environment's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, refuse_idle, task, whole_number

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    name="seed",
    help={
        "contacts": "how many contacts to take, with what belongs to them (default: all)",
        "uploads": "take pictures, dashboards and files of assets along, unmasked (the default)",
        "server": "[USER@]HOST[:PORT] of the database to read in place of the environment's own: a "
        "read replica, a restored snapshot; the user's password is in MAUTIC_SEED_DB_PASSWORD",
        "list": "only list the seeds that are kept: of all environments, or of that of --env",
    },
)
def seed(
    session: Session,
    env: str = "",
    branch: str | None = None,
    contacts: str | None = None,
    uploads: bool = True,
    server: str | None = None,
    list: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Make a masked, encrypted copy of a branch's data, and keep it where seeds are kept."""
    from tasks.app import seeds
    from tasks.flows.seeds import COLUMNS

    as_json = check_format(format)
    if list:
        own = {"--branch": branch is not None, "--contacts": contacts is not None}
        own |= {"--no-uploads": not uploads, "--server": server is not None}
        refuse_idle("is not for --list, which makes no seed", own)
        kept = seeds.kept_seeds(session, env)
        for id_, why in kept.broken.items():
            session.console.warn(f"seed {id_}: {why}")
        if as_json:
            session.console.json([each.as_dict() for each in kept.whole])
        elif kept.whole:
            session.console.table(COLUMNS, kept.rows())
        else:
            of_it = f" of {env}" if env else ""
            make = f"inv db.seed --env {env or 'ENVIRONMENT'}"
            session.console.say(f"there are no seeds{of_it}; make one: {make}")
        return
    number = 0 if contacts is None else whole_number("contacts", contacts)
    if dry_run or session.dry:
        session.console.plan(
            seeds.plan(session, env, branch, number, uploads, server), as_json=as_json
        )
        return
    made = seeds.make(session, env, branch, number, uploads, server)
    if as_json:
        session.console.json(made.as_dict())
    else:
        session.console.data(made.id)
