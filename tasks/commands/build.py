"""inv build: both images, in one graph."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks.app.session import ROOT, Session, check_format, task

if TYPE_CHECKING:
    from tasks.flows.build import Subject, Tools

RECORD = "build.json"
"""What a build writes at the checkout's root, for later jobs."""


@task(
    help={
        "only": "build just this image: mautic or nginx",
        "rebuild": "build without any cache, and replace what is in the registry",
    }
)
def build(
    session: Session,
    env: str = "",
    branch: str | None = None,
    only: str = "",
    rebuild: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Build both images, push and tag them; what has not changed is only tagged."""
    as_json = check_format(format)
    from tasks.flows.build import plan_build, record, run_build, write_record

    subject = subject_of(session, env, branch)
    tools = tools_of(session, subject.name)
    dry = dry_run or session.dry
    to_come = prepare_registry(session, tools, dry=dry)
    wanted = (only,) if only else ()
    plan = plan_build(subject, tools, only=wanted, fresh=rebuild, registry_to_come=to_come)
    if dry:
        session.console.plan(plan, as_json=as_json)
        return
    built = run_build(plan, tools)
    write_record(ROOT / RECORD, subject, built)
    if as_json:
        session.console.json(record(subject, built))
        return
    session.console.table(
        ("image", "action", "digest", "seconds"),
        [(name, *image.row()) for name, image in built.items()],
    )


def build_all(session: Session, env: str, branch: str | None) -> None:
    """Build, push and tag both images, as a part of a larger job."""
    from tasks.flows.build import plan_build, run_build, write_record

    subject = subject_of(session, env, branch)
    tools = tools_of(session, subject.name)
    prepare_registry(session, tools, dry=False)
    write_record(ROOT / RECORD, subject, run_build(plan_build(subject, tools), tools))


def subject_of(session: Session, env: str, branch: str | None, bake: str | None = None) -> Subject:
    """Return what a build is about: environment, branch and checkout.

    Args:
        session: the run.
        env: the environment's name.
        branch: the branch.
        bake: the bake file of the images, where it is not that of an environment's.
    """
    from tasks.flows.build import BAKE, Subject, checkout_of

    of_branch = session.branch(branch)
    name, environment = session.environment(env, of_branch)
    return Subject(
        name=name,
        environment=environment,
        branch=of_branch,
        slug=session.names(name, of_branch).slug,
        checkout=checkout_of(session.git, ROOT, bake or BAKE),
        repository=session.git.repository(),
    )


def tools_of(session: Session, environment: str) -> Tools:
    """Return what builds an environment's images."""
    from tasks.adapters.docker.buildx import Buildx
    from tasks.app.wiring import registry, standins
    from tasks.flows.build import BAKE, Tools

    images = session.settings.images
    return Tools(
        git=session.git,
        buildx=Buildx(session.runner, ROOT, BAKE),
        registry=registry(session, environment),
        bases=session.bases(standins(session, environment)),
        variables={
            "DEBIAN": images.debian,
            "PHP": images.php,
            "MAUTIC_IMAGE": os.environ.get("MAUTIC_IMAGE") or images.mautic,
            **given("DEBIAN_IMAGE"),
        },
        work=session.console.work,
    )


def given(*names: str) -> dict[str, str]:
    """Return those of these variables that are set, and not to an empty text."""
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def prepare_registry(session: Session, tools: Tools, *, dry: bool) -> bool:
    """Make sure that there is a registry: the local platform's is started where it is needed.

    Args:
        session: the run.
        tools: what builds the images.
        dry: start nothing.

    Returns:
        Whether it has yet to be started, in a dry run.

    Raises:
        RegistryError: it is not the local platform's, and cannot be reached.
        AwsError: it is ECR, which refuses or cannot be reached.
        EngineError: the local platform's does not come up.
    """
    from tasks.adapters.registry.oci import UnreachableError
    from tasks.app.wiring import platform

    try:
        tools.registry.ping()
    except UnreachableError:
        local = platform(session, tools.registry.host)
        if not local.owns(tools.registry.url):
            raise
        if dry:
            return True
        local.ensure_registry()
    return False
