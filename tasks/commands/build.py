"""inv build, inv ci.image: a branch's images, and the image that GitLab's jobs run in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tasks.app.task import NEW, check_format, task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tasks.app.images import Build
    from tasks.app.session import Session
    from tasks.flows.build import BuildPlan, BuiltImage


@task(
    help={
        "only": "build just this image: mautic or nginx",
        "rebuild": "build without any cache, and replace what is in the registry",
        "if_changed": "keep this commit's images unless packages or bases have changed",
        "new": NEW,
    }
)
def build(
    session: Session,
    env: str = "",
    branch: str | None = None,
    only: str = "",
    rebuild: bool = False,
    if_changed: bool = False,
    new: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Build both images, push and tag them; what has not changed is only tagged."""
    from tasks.app import branches, images

    as_json = check_format(format)
    dry = dry_run or session.dry
    branches.check_given(session, branch, new=new)
    job = images.branch_build(session, env, branch)
    plan = job.plan(only=only, fresh=rebuild, if_changed=if_changed, dry=dry)
    _carry_out(session, job, plan, dry=dry, as_json=as_json)


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
    """Build and push the image that GitLab's jobs run in; only with --latest always built anew."""
    from tasks.app import images
    from tasks.flows import pipeline

    as_json = check_format(format)
    dry = dry_run or session.dry
    place = registry or os.environ.get("CI_REGISTRY_IMAGE", "")
    job = images.job_image_build(session, place, latest=latest, infra=infra)
    plan = job.plan(dry=dry)
    built = _carry_out(session, job, plan, dry=dry, as_json=as_json, full_names=True)
    if latest and not as_json:
        for variable, name in pipeline.DIGESTS.items():
            if name in built:
                session.console.say(
                    f"jobs with production's role or the infrastructure's take it by the protected "
                    f"variable: {variable}={built[name].digest}"
                )


def _carry_out(
    session: Session,
    job: Build,
    plan: BuildPlan,
    *,
    dry: bool,
    as_json: bool,
    full_names: bool = False,
) -> Mapping[str, BuiltImage]:
    """Run a build and return the images, or only print its plan.

    Args:
        full_names: show images as they are called in the registry.
    """
    if dry:
        session.console.plan(plan, as_json=as_json)
        return {}
    built = job.run(plan)
    if as_json:
        session.console.json(job.report(built))
        return built
    session.console.table(
        ("image", "action", "digest", "seconds"),
        [(one.repository if full_names else name, *one.row()) for name, one in built.items()],
    )
    return built
