"""Sweeping away the environments that nobody needs any more."""

from __future__ import annotations

from functools import partial

from tasks.cli import ROOT, Session, check_format, task


@task(help={"yes": "remove them; without it they are only listed"})
def gc(
    session: Session,
    env: str = "",
    yes: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Remove the environments whose branch is gone from the remote, or whose time is over."""
    as_json = check_format(format)
    from tasks.flows.cleanup import refuse_protected
    from tasks.flows.gc import COLUMNS, plan_sweep, run_sweep
    from tasks.flows.observe import now
    from tasks.targets import holder, registry, target

    environment, own = session.environment(env)
    refuse_protected(environment, protected=own.protected)
    git = session.git
    place = target(session, environment)
    moment = now()
    sweep = plan_sweep(
        environment,
        place.list(),
        repository=git.repository(),
        branches=git.remote_branches() | (git.branches() if place.is_private else frozenset()),
        now=moment,
    )
    if as_json:
        session.console.json(sweep.as_dict())
    elif sweep.stale:
        session.console.table(COLUMNS, sweep.rows(moment))
    else:
        session.console.say(f"{environment}: nothing to sweep away")
    if not sweep.stale:
        return
    if dry_run or session.dry or not yes:
        session.console.say("nothing was removed; to remove them: inv gc --yes")
        return
    images = registry(session, environment) if place.holds_images(dry=False) else None
    run_sweep(
        sweep,
        place,
        partial(session.names, environment),
        tags=images,
        me=holder("cleanup"),
        console=session.console,
        root=ROOT,
    )
