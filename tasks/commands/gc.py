"""inv gc: what nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, refuse_idle, task

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    help={
        "yes": "do it; without it what would be done is only listed",
        "sleep": "only put to sleep what is due, and remove nothing",
        "all": "also environments that another checkout has deployed; they are listed anyway",
        "verbose": "show every image with the rule that keeps it or lets it go",
    }
)
def gc(
    session: Session,
    env: str = "",
    yes: bool = False,
    all: bool = False,
    sleep: bool = False,
    verbose: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Remove environments, images and seeds that are over, and put to sleep what nobody uses."""
    from tasks.app.gc import Sweep
    from tasks.app.gitlab_gc import clear_page, page_sweep
    from tasks.app.seeds import remove_seeds, seed_sweep
    from tasks.core.summary import unreadable_lines
    from tasks.flows.gitlab_gc import COLUMNS, PageSweep
    from tasks.flows.seeds import SHARED_COLUMNS, SWEEP_COLUMNS, SeedSweep

    as_json = check_format(format)
    idle = {"--all": sleep and all, "--verbose": sleep and verbose}
    refuse_idle("is not for --sleep, which removes nothing", idle)
    dry = dry_run or session.dry or not yes
    sweeping = Sweep(session, env, everybody=all, dry=dry, sleeps_only=sleep)
    sweep = sweeping.plan()
    seeds = SeedSweep({}) if sleep else seed_sweep(session)
    page = PageSweep() if sleep else page_sweep(session, env)
    for line in unreadable_lines(sweep.unreadable):
        session.console.warn(line)
    tables = [] if as_json else [*sweep.tables(sweeping.now)]
    for columns, rows in tables:
        session.console.table(columns, rows)
    failure = None if dry else sweeping.run(sweep)
    # Planned only now, since the environments that are gone keep none.
    images = sweeping.plan_images(sweep)
    uploads = sweeping.plan_uploads()
    for line in images.problems:
        session.console.warn(f"its images are kept: {line}")
    if as_json:
        over = {
            "seeds": dict(seeds.gone),
            "uploads": list(uploads.gone),
            "gitlab": [each.name for each in page.gone],
        }
        session.console.json({**sweep.as_dict(), **images.as_dict(), **over})
    else:
        tables = [
            *images.tables(details=verbose),
            (SWEEP_COLUMNS, list(seeds.gone.items())),
            (SHARED_COLUMNS, uploads.rows),
            (COLUMNS, page.rows),
        ]
        for columns, rows in tables:
            if rows:
                session.console.table(columns, rows)
    if not any(each.steps for each in (sweep, images, seeds, uploads, page)):
        session.console.say(f"{sweep.environment}: nothing to sweep away")
    elif dry:
        more = "nothing was put to sleep; to do that" if sleep else "nothing was done; to do it"
        session.console.say(f"{more}: inv gc {'--sleep ' if sleep else ''}--yes")
    else:
        sweeping.run_images(images)
        remove_seeds(session, seeds)
        sweeping.run_uploads(uploads)
        clear_page(session, page)
    if failure:
        raise failure
