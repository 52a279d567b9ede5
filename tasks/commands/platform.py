"""inv platform.*: what all environments of one cluster share.

The local platform of Docker Compose starts by itself; no task is needed for it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.session import Session

VALUES = "values file for helm/platform; may be repeated, the later ones win"


@task(help={"values": VALUES}, iterable=["values"])
def apply(
    session: Session,
    env: str = "",
    values: list[str] | None = None,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Install into a cluster what its environments share: Gateway, storage classes, rights."""
    from tasks.app.clusters import cluster_platform

    as_json = check_format(format)
    place = cluster_platform(session, env, values or ())
    if dry_run or session.dry:
        session.console.plan(place.plan(), as_json=as_json)
        return
    done = place.apply()
    if as_json:
        session.console.json(done.as_dict())
    elif not done.steps:
        session.console.say(f"{done.title}: everything is as it should be")
    else:
        session.console.say("a new Gateway has its address within minutes: inv platform.status")


@task(help={"part": "whose image: `provisioner` (of databases) or `entrance`"})
def image(
    session: Session,
    env: str = "",
    part: str = "provisioner",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Build and push the image of a part of the platform; print it by digest."""
    from tasks.app import images

    as_json = check_format(format)
    job = images.platform_build(session, env, part)
    # What lies under the same key may be somebody else's, and gets rights to every database.
    plan = job.plan(fresh=True, dry=dry_run or session.dry)
    if dry_run or session.dry:
        session.console.plan(plan, as_json=as_json)
        return
    built = job.run(plan)
    if as_json:
        session.console.json(job.report(built))
        return
    for one in built.values():
        session.console.data(f"{one.repository}@{one.digest}")
    key = "database.provisioner" if part == "provisioner" else part
    session.console.say(f"the environment takes it by `{key}`: inv platform.apply")


@task(help={"values": VALUES}, iterable=["values"])
def status(
    session: Session, env: str = "", values: list[str] | None = None, format: str = "text"
) -> None:
    """Show which parts of the platform a cluster has, and what to do about the rest."""
    from tasks.app.clusters import cluster_platform
    from tasks.flows.kubernetes.platform_status import COLUMNS, refuse, rows

    as_json = check_format(format)
    states = cluster_platform(session, env, values or ()).status()
    if as_json:
        session.console.json([asdict(state) for state in states])
    else:
        session.console.table(COLUMNS, rows(states))
    refuse(states)
