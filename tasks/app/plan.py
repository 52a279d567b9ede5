"""Puts one plan together: of build, images, database, release and infrastructure; saved, and kept.

A saved plan has a fact for everything that it depends on. It is carried out only if the same plan,
made anew, has the same facts: before anything is done, and once more under the lock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.files.private import write_private
from tasks.adapters.registry.oci import UnreachableError
from tasks.app import environments, images, news, wiring
from tasks.app.images import Build
from tasks.app.session import Session
from tasks.core.environment_data import check_choice
from tasks.core.errors import (
    AwsError,
    ClusterError,
    EngineError,
    HeldError,
    InputError,
    MissingToolError,
    RefusedError,
    RegistryError,
    SettingsError,
    SuiteError,
)
from tasks.core.foresight import fact
from tasks.core.images.content_key import CODE
from tasks.core.saved_plan import (
    SETTINGS,
    VERSION,
    Asked,
    SavedPlan,
    changed_facts,
    facts_of_settings,
    read_saved,
    told,
)
from tasks.flows.deploy import DeployResult, find_plan
from tasks.flows.plan import (
    NO_STACK,
    NOT_ASKED,
    UNBUILT,
    WholePlan,
    deploy_facts,
    migration_outlook,
)

if TYPE_CHECKING:
    from tasks.flows.build import BuildPlan
    from tasks.flows.registry_port import Registry
    from tasks.flows.target import Deployer, DeployPlan, Request

UNKNOWN = (
    *(AwsError, ClusterError, EngineError, HeldError),
    *(MissingToolError, SettingsError, UnreachableError),
)
"""Errors after which nobody knows whether a saved plan still holds."""


@dataclass(frozen=True)
class Made:
    """A plan with what carries it out.

    Attributes:
        job: the build that is a part of it, or None.
        images: the images after that build, by digest.
    """

    plan: WholePlan
    job: Build | None
    images: dict[str, str]


def asked(
    session: Session, env: str, branch: str | None, tag: str, data: str | None, *, build: bool
) -> Asked:
    """Return what a command line asks for; arguments are its options."""
    names = session.names(env, branch)
    choice = "" if data is None else check_choice(data)
    return Asked(names.environment, names.branch, tag, choice, build)


def make(session: Session, asked: Asked, *, must_fit: bool = True) -> Made:
    """Return the plan of what was asked for; reads only.

    Args:
        session: the run.
        asked: what was asked for.
        must_fit: whether it is refused where the cluster has too little left for it.

    Raises:
        SuiteError: as for ``inv build`` and ``inv deploy``, before they change anything.
    """
    request = _request(session, asked, must_fit=must_fit, dry=True)
    own = session.settings.environment(asked.environment)
    job = None
    # Those of a protected environment are built anew each time: what a deploy takes was built.
    if asked.build and not asked.tag and not own.protected:
        job = images.branch_build(session, asked.environment, asked.branch)
    return _made(session, request, job)


def of_request(session: Session, request: Request, *, build: bool = False) -> WholePlan:
    """Return the plan of a deploy or a rollback, with the build that comes before; reads only.

    Args:
        session: the run.
        request: what is asked for.
        build: whether images that the registry lacks are built first.

    Raises:
        SuiteError: as for ``inv deploy``, before it changes anything.
    """
    names = request.names
    job = None
    if build and environments.lacks_images(session, request):
        job = images.branch_build(session, names.environment, names.branch)
    return _made(session, request, job).plan


def _made(session: Session, request: Request, job: Build | None) -> Made:
    """Return the plan of a request, after a build or without one."""
    environment = request.names.environment
    build, known = None, dict[str, str]()
    if job:
        build = job.plan(dry=True)
        known = _images_after(build, job.tools.registry)
    deployer = wiring.target(session, environment, dry=True, images=known).deployer
    plan = find_plan(deployer, request, session.console.warn)
    return Made(_whole(session, plan, deployer, build), job, known)


def _whole(
    session: Session, plan: DeployPlan, deployer: Deployer[Any], build: BuildPlan | None
) -> WholePlan:
    """Return the plan of a deploy or a rollback together with what it changes.

    Args:
        session: the run.
        plan: what the deploy would do.
        deployer: what has made it.
        build: what a build before it would do.
    """
    environment = plan.request.names.environment
    registry = wiring.registry(session, environment)
    unbuilt = {image.name: image.code for image in build.images} if build else {}

    def code_of(reference: str) -> str:
        digest = reference.rpartition("@")[2]
        if digest == UNBUILT:
            return unbuilt.get("mautic", "")
        try:
            return registry.labels("mautic", digest).get(CODE, "")
        except (AwsError, RegistryError):
            # It may have been removed since, and is only compared: the plan says "unknown".
            return ""

    return WholePlan(
        build,
        plan,
        deployer.foresee(plan),
        migration_outlook(plan, code_of),
        NOT_ASKED if session.settings.environment(environment).stack else NO_STACK,
        asked=_facts(session, environment, build),
    )


def save(made: Made, asked: Asked, path: Path) -> None:
    """Save a plan, readable for its owner alone.

    Raises:
        RefusedError: images have to be built first.
        InputError: the file cannot be written.
    """
    plan = made.plan
    if plan.unbuilt:
        raise RefusedError(
            f"the plan was not saved: {_told(plan.unbuilt)} to be built first, and nobody knows "
            "a digest before",
            hint="inv build, then inv plan again",
        )
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    saved = SavedPlan(VERSION, plan.title, made_at, asked, plan.facts, plan.effects())
    try:
        write_private(path, saved.to_json().encode())
    except OSError as error:
        raise InputError(f"--out {path}: {error.strerror}") from error


def _told(names: Sequence[str]) -> str:
    return f"{' and '.join(names)} {'have' if len(names) > 1 else 'has'}"


def reopen(session: Session, path: Path, *, must_fit: bool = True) -> tuple[SavedPlan, Made]:
    """Return a saved plan, and the same made anew, after a check that they are one.

    Arguments are those of ``make``; ``path`` is the file.

    Raises:
        InputError: there is no such plan.
        RefusedError: the world has changed since it was saved.
    """
    try:
        saved = read_saved(path.read_bytes(), path.name)
    except OSError as error:
        raise InputError(f"--plan {path}: {error.strerror}") from error
    try:
        made = make(session, saved.asked, must_fit=must_fit)
    except UNKNOWN:
        raise
    except SuiteError as error:
        raise _outdated(saved, error.message) from error
    _check(saved, made.plan.facts)
    return saved, made


def carry_out(
    session: Session, saved: SavedPlan, made: Made, summary: str = "", *, must_fit: bool = True
) -> DeployResult:
    """Do what a saved plan says, and nothing else; tell what came of it, and return the result.

    Args:
        session: the run.
        saved: the plan.
        made: the same, made anew.
        summary: as for ``news.deploy``.
        must_fit: as for ``make``.

    Raises:
        RefusedError: the world has changed since it was saved.
        SuiteError: as for ``inv deploy``.
    """
    asked = saved.asked
    if made.job and made.plan.build:
        made.job.run(made.plan.build)
    request = _request(session, asked, must_fit=must_fit)
    deployer = wiring.target(session, asked.environment, images=made.images).deployer

    def agreed(plan: DeployPlan) -> None:
        facts = {**made.plan.asked, **deploy_facts(plan, deployer.foresee(plan))}
        _check(saved, facts, begun=True)

    deploy = partial(environments.deploy, session, request, deployer, agreed)
    return news.deploy(session, request, deploy, summary)


def _request(session: Session, asked: Asked, *, must_fit: bool, dry: bool = False) -> Request:
    """Return the request to deploy what was asked for; options as for ``environments.request``."""
    return environments.request(
        *(session, asked.environment, asked.branch, asked.tag, asked.data or None),
        must_fit=must_fit,
        dry=dry,
    )


def _check(saved: SavedPlan, facts: dict[str, str], *, begun: bool = False) -> None:
    if changed := changed_facts(saved.facts, facts, begun=begun):
        raise _outdated(saved, told(changed))


def _outdated(saved: SavedPlan, why: str) -> RefusedError:
    return RefusedError(
        f"the plan of {saved.made_at[:19]} no longer holds: {why}",
        hint="nothing was changed; make and read a new one: inv plan --out FILE",
    )


def _images_after(build: BuildPlan, registry: Registry) -> dict[str, str]:
    """Return the images after a build; with a digest that stands for those that it makes."""
    return {
        image.name: registry.reference(image.name, image.digest or UNBUILT)
        for image in build.images
    }


def _facts(session: Session, environment: str, build: BuildPlan | None) -> dict[str, str]:
    """Return what a plan depends on besides what its deploy finds."""
    settings = session.settings_of(environment).model_dump(mode="json")
    contents = {f"content of {each.name}": each.key for each in build.images} if build else {}
    return {SETTINGS: fact(facts_of_settings(settings, environment)), **contents}
