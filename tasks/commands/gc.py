"""inv gc: what nobody needs any more."""

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
    """Remove environments whose branch is gone or time is over, gone branches' tags, old seeds."""
    from tasks.app.environments import EnvironmentSweep
    from tasks.app.seeds import seed_store, seed_sweep
    from tasks.flows.seeds import SWEEP_COLUMNS, run_seed_sweep
    from tasks.flows.views import unreadable_lines

    as_json = check_format(format)
    dry = dry_run or session.dry or not yes
    sweeping = EnvironmentSweep(session, env, dry=dry)
    sweep = sweeping.plan()
    seeds = seed_sweep(session)
    for line in unreadable_lines(sweep.unreadable):
        session.console.warn(line)
    if as_json:
        session.console.json({**sweep.as_dict(), "seeds": dict(seeds.gone)})
    else:
        for columns, rows in sweep.tables(sweeping.now):
            session.console.table(columns, rows)
        if seeds.gone:
            session.console.table(SWEEP_COLUMNS, list(seeds.gone.items()))
    if not sweep.steps and not seeds.steps:
        session.console.say(f"{sweep.environment}: nothing to sweep away")
    elif dry:
        session.console.say("nothing was removed; to remove them: inv gc --yes")
    else:
        sweeping.run(sweep)
        if seeds.gone:
            with session.console.work("remove seeds") as activity:
                run_seed_sweep(seed_store(session), seeds)
                activity.outcome = f"{len(seeds.gone)} removed"
