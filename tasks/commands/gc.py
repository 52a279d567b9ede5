"""Sweeping away the environments that nobody needs any more."""

from __future__ import annotations

from functools import partial

from tasks.app.session import ROOT, Session, check_format, task


@task(help={"yes": "remove them; without it they are only listed"})
def gc(
    session: Session,
    env: str = "",
    yes: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Remove environments whose branch is gone or whose time is over, and tags of gone branches."""
    as_json = check_format(format)
    from dataclasses import replace

    from tasks.app.wiring import registry, target, this_run
    from tasks.core.images.tags import IMAGES
    from tasks.flows.cleanup import refuse_protected
    from tasks.flows.gc import COLUMNS, TAG_COLUMNS, plan_leftovers, plan_sweep, run_sweep
    from tasks.flows.views import now

    environment, own = session.environment(env)
    refuse_protected(environment, protected=own.protected)
    git = session.git
    place = target(session, environment)
    moment = now()
    dry = dry_run or session.dry or not yes
    images = registry(session, environment) if place.remover.holds_images(dry=dry) else None
    tags = {name: images.tags(name) for name in IMAGES} if images else {}
    branches = git.remote_branches() | (
        git.branches() if place.inspector.is_private else frozenset()
    )
    found = place.inspector.list()
    sweep = plan_sweep(
        environment, found, repository=git.repository(), branches=branches, now=moment
    )
    slugs = {session.names(environment, branch).slug for branch in branches}
    sweep = replace(sweep, leftovers=plan_leftovers(tags, found, slugs))
    if as_json:
        session.console.json(sweep.as_dict())
    if not as_json and sweep.stale:
        session.console.table(COLUMNS, sweep.rows(moment))
    if not as_json and sweep.leftovers:
        session.console.table(TAG_COLUMNS, sweep.tag_rows())
    if not sweep.steps:
        session.console.say(f"{environment}: nothing to sweep away")
        return
    if dry:
        session.console.say("nothing was removed; to remove them: inv gc --yes")
        return
    run_sweep(
        sweep,
        place.remover,
        place.inspector,
        partial(session.names, environment),
        tags=images,
        me=this_run("cleanup"),
        console=session.console,
        root=ROOT,
    )
