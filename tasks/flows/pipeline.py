"""GitLab's pipeline: explains what it runs, and runs its jobs on this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.host.tools import find_gitlab_ci_local
from tasks.core.config_sources import nearest
from tasks.core.errors import InputError
from tasks.core.gitlab_pipeline import Pipeline, PipelineJob, event_variables, with_included
from tasks.core.images.tags import LATEST
from tasks.core.plan import Step
from tasks.core.settings import LOCAL, Environment, RegistrySettings, Settings
from tasks.flows.build import BuildSubject

if TYPE_CHECKING:
    from tasks.adapters.process import Runner
    from tasks.flows.build import BuildPlan, BuiltImage

FILE = ".gitlab-ci.yml"
LOCAL_FILE = "docker/ci/gitlab-ci-local.yml"
"""The same pipeline, with this machine's engine in place of a service of the job's own."""

BAKE = "docker/ci/docker-bake.hcl"
IMAGE = "ci"
INFRA_IMAGE = "ci-infra"
DIGESTS = {"CI_PROTECTED_DIGEST": IMAGE, "CI_INFRA_DIGEST": INFRA_IMAGE}
"""The protected variables by which jobs with a role that matters take their image."""

COLUMNS = ("job", "when", "environment", "on this machine")

SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True)
class CiSubject(BuildSubject):
    """The subject of a build of the jobs' image, which only has its content key and `latest`.

    Attributes:
        latest: whether jobs are to use this one from now on.
    """

    latest: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that the image gets besides its content key."""
        return (LATEST,) if self.latest else ()

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{IMAGE}:{LATEST}"

    @property
    def always_built(self) -> bool:
        """Whether jobs are to use it: those of the default branch give production's role to it."""
        return self.latest


@dataclass(frozen=True)
class LocalPlan:
    """The plan to run jobs of the pipeline on this machine.

    Attributes:
        image: the plan of the jobs' image.
        settings: the settings for the jobs, with every environment on this machine.
        jobs: empty for all of the branch.
        branch: the branch that is checked out.
    """

    image: BuildPlan
    settings: Settings
    jobs: tuple[str, ...]
    branch: str

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"run the pipeline of {self.branch} on this machine"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they run."""
        return (
            *self.image.steps,
            *(
                Step("use", f"environment {name}", f"by Compose, images in {own.registry.url}")
                for name, own in self.settings.environments.items()
            ),
            *(Step("run", f"job {job}") for job in self.jobs or ("of every stage",)),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.branch,
            "image": self.image.as_dict(),
            "registries": {
                name: own.registry.url for name, own in self.settings.environments.items()
            },
            "jobs": list(self.jobs),
        }


def read_pipeline(root: Path) -> Pipeline:
    """Read .gitlab-ci.yml, and the files of the project that it includes.

    Raises:
        InputError: one is missing, or cannot be parsed, or lies elsewhere.
    """
    import yaml

    def document(name: str) -> dict[str, Any]:
        try:
            return yaml.safe_load((root / name).read_text()) or {}
        except FileNotFoundError as error:
            raise InputError(f"there is no {name}", hint="run this in your checkout") from error
        except yaml.YAMLError as error:
            raise InputError(f"{name} cannot be read: {error}") from error

    return Pipeline(with_included(document(FILE), document))


def explain(
    pipeline: Pipeline,
    event: str,
    branch: str,
    *,
    default_branch: str,
    tag: str = "",
    variables: Sequence[str] = (),
) -> tuple[PipelineJob, ...]:
    """Return the jobs that an event creates.

    Args:
        event: one of ``EVENTS``; for ``stop`` only the stop job is returned.
        branch: full branch name.
        default_branch: the project's default branch.
        tag: the tag's name, for the event ``tag``.
        variables: the project's CI/CD variables, each ``NAME=value``.

    Raises:
        InputError: no such event, a variable without a value, or a tag that does not belong.
    """
    if bool(tag) != (event == "tag"):
        raise InputError("--tag belongs to --event tag, and that needs it")
    given = {}
    for item in variables:
        name, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"--variable {item!r}: must be NAME=value")
        given[name] = value
    found = pipeline.jobs(
        {**given, **event_variables(event, branch, default_branch=default_branch, tag=tag)}
    )
    return tuple(job for job in found if job.action == "stop") if event == "stop" else found


def check_jobs(pipeline: Pipeline, names: Sequence[str]) -> None:
    """Check that the pipeline has these jobs.

    Raises:
        InputError: it has not; the hint has the nearest name.
    """
    for name in names:
        if name not in pipeline.definitions:
            raise InputError(
                f"there is no job {name!r} in {FILE}", hint=nearest(name, pipeline.definitions)
            )


def rows(jobs: Sequence[PipelineJob]) -> list[tuple[str, ...]]:
    """Return the jobs as lines of a table under ``COLUMNS``."""
    return [(job.name, job.when, job.environment, " && ".join(job.here)) for job in jobs]


def local_settings(settings: Settings) -> Settings:
    """Return the settings with every environment moved to this machine.

    Each is run by Compose, with its own path in the local registry, so that a local pipeline uses
    no cluster and no shared images. Guards are kept: a protected environment still refuses
    stand-ins.
    """
    local = settings.environment(LOCAL)

    def moved(name: str, own: Environment) -> Environment:
        if name == LOCAL:
            return own
        return own.model_copy(
            update={
                "target": "compose",
                "namespace": local.namespace,
                "host": local.host,
                "registry": RegistrySettings(kind="oci", url=f"{local.registry.url}/{name}"),
                # There is neither a scanner nor KMS.
                "scan_severity": "none",
                "signing_key": None,
                "cluster": None,
                "database": None,
                "stack": None,
            }
        )

    environments = {name: moved(name, own) for name, own in settings.environments.items()}
    return settings.model_copy(update={"environments": environments})


def run_local(
    plan: LocalPlan,
    build: Callable[[BuildPlan], Mapping[str, BuiltImage]],
    runner: Runner,
    root: Path,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Run jobs on this machine, and return the exit status of gitlab-ci-local.

    Args:
        build: builds the jobs' image.
        runner: runs gitlab-ci-local.
        root: the checkout.
        environ: this process's environment, for DOCKER_HOST.

    Raises:
        MissingToolError: gitlab-ci-local is not installed.
        InputError: the engine is not on this machine.
        SuiteError: the image could not be built.
    """
    program = find_gitlab_ci_local(root)
    socket = socket_of(environ.get("DOCKER_HOST", ""))
    image = build(plan.image)[IMAGE]
    with tempfile.TemporaryDirectory(prefix="inv-ci-") as scratch:
        settings = Path(scratch) / "settings.json"
        settings.write_text(plan.settings.model_dump_json())
        argv = local_argv(
            program,
            image=f"{image.repository}@{image.digest}",
            settings=settings,
            jobs=plan.jobs,
            socket=socket,
        )
        return runner.interact(argv)


def local_argv(
    program: str, *, image: str, settings: Path, jobs: Sequence[str], socket: str
) -> list[str]:
    """Return the command line of gitlab-ci-local, to be run in the checkout.

    Args:
        program: gitlab-ci-local.
        image: the image of the jobs, by digest.
        settings: the file with the settings of the jobs.
        jobs: the jobs to run; empty for all of the pipeline.
        socket: the engine's socket.
    """
    mounted = f"/tmp/{settings.name}"  # noqa: S108 - in the job's container
    repository, _, digest = image.partition("@")
    variables = {
        "CI_IMAGE": image,
        **dict.fromkeys(("CI_PROTECTED_IMAGE", "CI_INFRA_IMAGE"), repository),
        **dict.fromkeys(DIGESTS, digest),
    }
    return [
        program,
        *("--file", LOCAL_FILE),
        *("--network", "host", "--volume", f"{socket}:{SOCKET}"),
        *("--volume", f"{settings}:{mounted}:ro"),
        *(word for name, value in variables.items() for word in ("--variable", f"{name}={value}")),
        *("--variable", f"INVOKE_RUNTIME_CONFIG={mounted}"),
        # Made already, and GitLab's own registry is not here.
        *("--variable", "CI_IMAGE_DISABLED=true"),
        *("--helper-image", image, "--pull-policy", "if-not-present"),
        *jobs,
    ]


def socket_of(host: str) -> str:
    """Return the engine's socket on this machine.

    Args:
        host: DOCKER_HOST, or empty.

    Raises:
        InputError: the engine is elsewhere.
    """
    if host and not host.startswith("unix://"):
        raise InputError(
            f"the jobs need an engine on this machine, and DOCKER_HOST is {host}",
            hint="unset DOCKER_HOST, then run it again",
        )
    return host.removeprefix("unix://") or SOCKET


def ci_subject(subject: BuildSubject, *, latest: bool) -> CiSubject:
    """Return the subject of a build of the jobs' image, given that of a branch's images."""
    return CiSubject(**vars(subject), latest=latest)
