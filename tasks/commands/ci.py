"""inv ci.explain, inv ci.local: GitLab's pipeline, explained and run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from tasks.app.paths import IS_PACKAGE, PROJECT
from tasks.app.task import check_format, task
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    help={
        "event": "push, merge_request, tag, schedule, or stop: the branch is gone",
        "tag": "the tag's name, for --event tag",
        "variable": "a CI/CD variable of the project, NAME=value; may be repeated",
    },
    iterable=["variable"],
)
def explain(
    session: Session,
    branch: str | None = None,
    event: str = "push",
    tag: str = "",
    variable: list[str] | None = None,
    format: str = "text",
) -> None:
    """Show which jobs GitLab runs for a branch, where, and the same line for this machine."""
    from tasks.flows import pipeline

    as_json = check_format(format)
    found = pipeline.explain(
        pipeline.read_pipeline(PROJECT),
        event,
        session.branch(branch),
        default_branch=session.git.default_branch(),
        tag=tag,
        variables=variable or (),
    )
    if as_json:
        session.console.json([job.as_dict() for job in found])
    elif found:
        session.console.table(pipeline.COLUMNS, pipeline.rows(found))
    else:
        session.console.say("no job runs")


@task(
    help={"job": "a job to run; may be repeated (default: all of the branch but manual ones)"},
    iterable=["job"],
)
def local(
    session: Session, job: list[str] | None = None, dry_run: bool = False, format: str = "text"
) -> None:
    """Run the pipeline's jobs on this machine with gitlab-ci-local, deploying to Compose alone."""
    from tasks.app import images
    from tasks.flows import pipeline

    if IS_PACKAGE:
        raise InputError("inv ci.local runs the suite's own pipeline, in a checkout of the suite")
    as_json = check_format(format)
    jobs = tuple(job or ())
    pipeline.check_jobs(pipeline.read_pipeline(PROJECT), jobs)
    dry = dry_run or session.dry
    settings = pipeline.local_settings(session.settings)
    build = images.job_image_build(session)
    plan = pipeline.LocalPlan(build.plan(dry=dry), settings, jobs, session.git.branch())
    if dry:
        session.console.plan(plan, as_json=as_json)
        return
    raise Exit(code=pipeline.run_local(plan, build.run, session.runner, PROJECT))
