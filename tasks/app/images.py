"""Puts builds together: of a branch's images, and of the image that GitLab's jobs run in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.committed import BuildInputs
from tasks.adapters.docker.build_context import built_from
from tasks.adapters.docker.buildx import Buildx
from tasks.adapters.docker.image_files import read_image_files
from tasks.adapters.identity import this_builder
from tasks.adapters.registry.oci import OciRegistry, UnreachableError
from tasks.app import wiring
from tasks.app.assembly import is_assembled
from tasks.app.paths import PROJECT, RECORD
from tasks.app.session import Session
from tasks.core.config_sources import PROJECT_FILE
from tasks.core.errors import InputError
from tasks.core.images.tags import variant
from tasks.core.project_files import ProjectInputs
from tasks.core.rehearsal import check_no_rehearsal, mautic_variables
from tasks.core.settings import LOCAL
from tasks.core.variables import PACKAGE_INDEX, given_variables
from tasks.flows import pipeline
from tasks.flows.attest import Attester
from tasks.flows.build import (
    BAKE,
    BUILT_FROM,
    BuildPlan,
    BuildSubject,
    BuildTools,
    BuiltImage,
    RehearsalSubject,
    plan_build,
    record,
    run_build,
    write_build_file,
)

if TYPE_CHECKING:
    from tasks.flows.registry_port import Registry

PLATFORM_BAKES = {
    part: f"docker/platform/{part}/docker-bake.hcl" for part in ("provisioner", "entrance")
}
"""The bake files of the images that a cluster's platform runs, by part."""


@dataclass(frozen=True)
class Build:
    """One build, with everything it needs.

    Attributes:
        subject: what is being built, and for whom.
        file: where the result is written for later jobs, or None.
    """

    session: Session
    subject: BuildSubject
    tools: BuildTools
    file: Path | None = None

    def plan(
        self, *, only: str = "", fresh: bool = False, if_changed: bool = False, dry: bool = False
    ) -> BuildPlan:
        """Return what the build would do; the local platform's registry is started if needed.

        Args:
            only: build just this image; empty for all.
            fresh: build without any cache, and replace what is in the registry.
            if_changed: keep what is there where the new images have the same packages and bases.
            dry: start nothing.

        Raises:
            SuiteError: as for ``plan_build``; or a registry cannot be reached, or the local one
                does not start.
        """
        return plan_build(
            self.subject,
            self.tools,
            only=(only,) if only else (),
            fresh=fresh,
            if_changed=if_changed,
            registry_to_come=self._is_registry_to_come(dry=dry),
        )

    def run(self, plan: BuildPlan) -> dict[str, BuiltImage]:
        """Carry out a plan, and return the images; errors as for ``run_build``."""
        built = run_build(plan, self.tools)
        if self.file:
            write_build_file(self.file, self.subject, built)
        return built

    def report(self, built: Mapping[str, BuiltImage]) -> dict[str, Any]:
        """Return the images as JSON-ready data, as in build.json."""
        return record(self.subject, built)

    def make(self) -> dict[str, BuiltImage]:
        """Plan and run the build, as a part of a larger job."""
        return self.run(self.plan())

    def _is_registry_to_come(self, *, dry: bool) -> bool:
        """Start the local registry if needed; in a dry run only return whether it is.

        Raises:
            RefusedError: the registry is that of another project on this machine.
            RegistryError: it cannot be reached, and is not the local platform's.
        """
        registry = self.tools.registry
        local = wiring.platform(self.session, registry.host)
        local.refuse_foreign(registry.host)
        try:
            registry.ping()
        except UnreachableError:
            if not local.owns(registry.url):
                raise
            if dry:
                return True
            local.ensure_registry()
        return False


def branch_build(session: Session, env: str, branch: str | None) -> Build:
    """Return the build of a branch's images.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.
    """
    images = session.settings.images
    subject = subject_of(session, env, branch, complete=True)
    check_no_rehearsal(subject.branch)
    if others := session.other_images:
        session.console.say(
            f"{' and '.join(others)}: not as in {PROJECT_FILE}, so the images get a tag of their "
            f"own, {subject.checkout.tag}"
        )
    tools = _tools(
        session, subject, BAKE, _variables(session), wiring.registry(session, subject.name)
    )
    if subject.always_built:
        chosen = {"debian": images.debian, "php": images.php}
        tools = replace(tools, attester=_attester(session, subject.name, chosen))
    return Build(session, subject, tools, RECORD)


def rehearsal_build(session: Session, env: str, branch: str, mautic: str) -> Build:
    """Return the build of a rehearsal's images, under a tag of their own.

    Args:
        session: the run.
        env: the environment.
        branch: what the rehearsal's environment is named after.
        mautic: another version of Mautic, or an image that holds it; empty for the project's.

    Raises:
        InputError: ``mautic`` is neither.
    """
    other = mautic_variables(mautic) if mautic else {}
    own = subject_of(session, env, branch, complete=True)
    subject = RehearsalSubject(**vars(own))
    variables = {**_variables(session), **other}
    tools = _tools(session, subject, BAKE, variables, wiring.registry(session, subject.name))
    return Build(session, subject, tools)


def job_image_build(
    session: Session, registry: str = "", *, latest: bool = False, infra: bool = False
) -> Build:
    """Return the build of the image that GitLab's jobs run in; it belongs to no environment.

    Args:
        session: the run.
        registry: where the image is pushed; empty for the local platform's registry.
        latest: whether jobs are to use it from now on.
        infra: make the image with Terraform, too.
    """
    variables = {
        "DEBIAN": session.settings.images.debian,
        "INFRA": "yes" if infra else "",
        **given_variables(os.environ, "DEBIAN_IMAGE", "TERRAFORM_IMAGE", *PACKAGE_INDEX),
    }
    own = subject_of(session, LOCAL, None, pipeline.BAKE, complete=True)
    subject = pipeline.ci_subject(own, latest=latest)
    place = OciRegistry(registry) if registry else wiring.registry(session, subject.name)
    return Build(session, subject, _tools(session, subject, pipeline.BAKE, variables, place))


def platform_build(session: Session, env: str, part: str) -> Build:
    """Return the build of the image of a part of a cluster's platform.

    Args:
        session: the run.
        env: what ``--env`` said; the image is pushed to its registry.
        part: a key of ``PLATFORM_BAKES``.

    Raises:
        InputError: the environment is not in a cluster, or there is no such part.
    """
    if part not in PLATFORM_BAKES:
        raise InputError(f"--part {part!r}: must be {' or '.join(PLATFORM_BAKES)}")
    wiring.cluster_environment(session, env)
    variables = {
        "DEBIAN": session.settings.images.debian,
        **given_variables(os.environ, "DEBIAN_IMAGE", *PACKAGE_INDEX),
    }
    bake = PLATFORM_BAKES[part]
    subject = subject_of(session, env, None, bake, complete=True)
    registry = wiring.registry(session, subject.name)
    return Build(session, subject, _tools(session, subject, bake, variables, registry))


def subject_of(
    session: Session, env: str, branch: str | None, bake: str = BAKE, *, complete: bool = False
) -> BuildSubject:
    """Return the subject of a build: environment, branch and checkout.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.
        bake: the bake file.
        complete: refuse a checkout that lacks a file which images are built from.

    Raises:
        InputError: as for ``Git.checkout``.
    """
    names = session.names(env, branch)
    session.git.require_checked_out(*_folders(session))
    checkout = session.git.checkout(inputs(session, bake), complete=complete)
    if bake == BAKE:
        checkout = replace(checkout, variant=variant(session.other_images))
    return BuildSubject(
        name=names.environment,
        environment=session.settings.environment(names.environment),
        branch=names.branch,
        slug=names.slug,
        checkout=checkout,
        repository=session.git.repository(),
    )


def _folders(session: Session) -> tuple[str, ...]:
    """Return the folders of the project that images are built from."""
    settings = session.settings
    return tuple(settings.paths.folders.values()) if is_assembled(settings) else (BUILT_FROM,)


def inputs(session: Session, bake: str = BAKE) -> BuildInputs:
    """Return the files of the project that the images of a bake file are built from."""
    settings = session.settings
    built = built_from(session.root, bake, settings.paths.folders)
    if not is_assembled(settings):
        return built
    return ProjectInputs(built.paths, built.holds, settings.paths.folders)


def _tools(
    session: Session,
    subject: BuildSubject,
    bake: str,
    variables: Mapping[str, str],
    registry: Registry,
) -> BuildTools:
    return BuildTools(
        git=session.git,
        buildx=Buildx(session.runner, session.root, bake, session.settings.paths.folders),
        registry=registry,
        bases=wiring.bases(session, wiring.standins(session, subject.name)),
        variables=variables,
        work=session.console.work,
        project=PROJECT,
        folders=_folders(session),
    )


def _variables(session: Session) -> dict[str, str]:
    """Return the variables of a build of a branch's images."""
    images = session.settings.images
    return {
        "DEBIAN": images.debian,
        "PHP": images.php,
        "MAUTIC_IMAGE": images.mautic,
        **given_variables(os.environ, "MAUTIC_IMAGE", "DEBIAN_IMAGE"),
    }


def _attester(session: Session, environment: str, parameters: Mapping[str, str]) -> Attester:
    return Attester(
        read=partial(read_image_files, session.runner),
        signer=wiring.signing_key(session, environment),
        builder=this_builder(),
        invocation=os.environ.get("CI_JOB_URL", ""),
        parameters=parameters,
    )
