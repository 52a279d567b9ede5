"""inv ci.*: GitLab's pipeline, explained and run on this machine, and the image of its jobs."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.exceptions import Exit

from tasks.app.session import ROOT, Session, check_format, task

if TYPE_CHECKING:
    from tasks.flows.build import BuildPlan, Tools


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
    as_json = check_format(format)
    from tasks.flows import pipeline

    found = pipeline.explain(
        pipeline.read_pipeline(ROOT),
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
    help={
        "registry": "where to (default: in a job GitLab's own, else the local platform's)",
        "latest": "let jobs use it from now on",
        "infra": "make the image with Terraform, too",
    }
)
def image(
    session: Session,
    registry: str = "",
    latest: bool = False,
    infra: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Build and push the image that GitLab's jobs run in; nothing is built when nothing changed."""
    as_json = check_format(format)
    from tasks.flows.build import record, run_build

    at = registry or os.environ.get("CI_REGISTRY_IMAGE", "")
    dry = dry_run or session.dry
    plan, tools = _image(session, at, latest=latest, infra=infra, dry=dry)
    if dry:
        session.console.plan(plan, as_json=as_json)
        return
    built = run_build(plan, tools)
    if as_json:
        session.console.json(record(plan.subject, built))
        return
    session.console.table(
        ("image", "action", "digest", "seconds"),
        [(one.repository, *one.row()) for one in built.values()],
    )


@task(
    help={"job": "a job to run; may be repeated (default: all of the branch but manual ones)"},
    iterable=["job"],
)
def local(
    session: Session, job: list[str] | None = None, dry_run: bool = False, format: str = "text"
) -> None:
    """Run the pipeline's jobs on this machine with gitlab-ci-local, deploying to Compose alone."""
    as_json = check_format(format)
    from tasks.adapters.host.tools import find_gitlab_ci_local
    from tasks.flows import pipeline
    from tasks.flows.build import run_build

    jobs = tuple(job or ())
    pipeline.check_jobs(pipeline.read_pipeline(ROOT), jobs)
    dry = dry_run or session.dry
    at_home = pipeline.at_home(session.settings)
    plan, tools = _image(session, "", latest=False, infra=False, dry=dry)
    whole = pipeline.LocalPlan(plan, at_home.environments, jobs, session.git.branch())
    if dry:
        session.console.plan(whole, as_json=as_json)
        return
    program = find_gitlab_ci_local(ROOT)
    socket = pipeline.socket_of(os.environ.get("DOCKER_HOST", ""))
    made = run_build(plan, tools)[pipeline.IMAGE]
    with tempfile.TemporaryDirectory(prefix="inv-ci-") as scratch:
        settings = Path(scratch) / "settings.json"
        settings.write_text(at_home.model_dump_json())
        argv = pipeline.local_argv(
            program,
            image=f"{made.repository}@{made.digest}",
            settings=settings,
            jobs=jobs,
            socket=socket,
        )
        code = session.runner.interact(argv)
    raise Exit(code=code)


def _image(
    session: Session, registry: str, *, latest: bool, infra: bool, dry: bool
) -> tuple[BuildPlan, Tools]:
    """Return how the image of the jobs is built, and with what: it is no environment's."""
    from tasks.adapters.docker.buildx import Buildx
    from tasks.adapters.registry.oci import Registry
    from tasks.commands.build import given, prepare_registry, subject_of, tools_of
    from tasks.core.settings import LOCAL
    from tasks.flows import pipeline
    from tasks.flows.build import plan_build

    checkout = subject_of(session, LOCAL, None, pipeline.BAKE)
    subject = pipeline.ci_subject(checkout, latest=latest)
    tools = tools_of(session, subject.name)
    variables = {
        "DEBIAN": session.settings.images.debian,
        "INFRA": "yes" if infra else "",
        **given("DEBIAN_IMAGE", "TERRAFORM_IMAGE", "PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE"),
    }
    tools = replace(
        tools,
        buildx=Buildx(session.runner, ROOT, pipeline.BAKE),
        variables=variables,
        registry=Registry(registry) if registry else tools.registry,
    )
    to_come = prepare_registry(session, tools, dry=dry)
    return plan_build(subject, tools, registry_to_come=to_come), tools
