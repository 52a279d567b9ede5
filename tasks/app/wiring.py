"""Wiring: the target that runs an environment, and the local platform."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.adapters import identity
from tasks.app.session import ROOT, Session
from tasks.core.errors import InputError
from tasks.core.names import platform_name

if TYPE_CHECKING:
    from tasks.adapters.docker.engine import Engine
    from tasks.adapters.kubernetes.cluster import Cluster
    from tasks.adapters.kubernetes.helm import Helm
    from tasks.flows.compose.plan import ComposePlan
    from tasks.flows.compose.platform import Platform
    from tasks.flows.deploy import Deployed
    from tasks.flows.kubernetes.plan import ClusterPlan
    from tasks.flows.registry_port import Registry
    from tasks.flows.target import Request, Target


this_run = identity.this_run
user_at_host = identity.user_at_host


def target(
    session: Session, environment: str, *, dry: bool = False
) -> Target[ComposePlan] | Target[ClusterPlan]:
    """Return what runs the environments of one environment of invoke.yaml.

    Args:
        session: the run.
        environment: its name.
        dry: only look: images that have yet to be made are not made.
    """
    if session.settings.environment(environment).target == "kubernetes":
        return _kubernetes(session, environment, dry=dry)
    return local(session, environment, dry=dry)


def deploy(session: Session, request: Request, action: str, committed: int) -> Deployed:
    """Deploy a branch to where its environment runs.

    Args:
        session: the run.
        request: what is wanted.
        action: what others are told while this run holds the environment.
        committed: the commit's time in seconds since 1970, or 0.
    """
    from tasks.flows.deploy import run_deploy

    me = this_run(action, request.tag, committed)
    environment = request.names.environment
    # Each kind of target carries out its own kind of plan.
    if session.settings.environment(environment).target == "kubernetes":
        deployer = _kubernetes(session, environment, dry=False).deployer
        return run_deploy(deployer, request, me=me, console=session.console, root=ROOT)
    here = local(session, environment).deployer
    return run_deploy(here, request, me=me, console=session.console, root=ROOT)


def _kubernetes(session: Session, environment: str, *, dry: bool) -> Target[ClusterPlan]:
    from tasks.flows.build import resolve_images
    from tasks.flows.kubernetes.target import Kubernetes
    from tasks.flows.target import Target

    access, helm = cluster(session, environment)
    found = Kubernetes(
        settings=session.settings_of(environment),
        environment=environment,
        cluster=access,
        helm=helm,
        root=ROOT,
        images=partial(resolve_images, registry(session, environment)),
        base=_base(session, standins(session, environment), dry=dry),
        work=session.console.work,
        redactor=session.redactor,
    )
    return Target(found, found, found)


def cluster(session: Session, environment: str) -> tuple[Cluster, Helm]:
    """Return the cluster of an environment whose target is Kubernetes, and Helm for it."""
    from tasks.adapters.aws.eks import EksAccess
    from tasks.adapters.host.tools import find_helm
    from tasks.adapters.kubernetes.cluster import Cluster
    from tasks.adapters.kubernetes.helm import Helm

    own = session.settings_of(environment).environment(environment)
    assert own.cluster, "the settings require it for this target"  # noqa: S101 - for the type
    assert own.cluster.name, "the settings require it"  # noqa: S101 - for the type
    # Looking at environments needs no Helm, and must not wait for one to be fetched.
    find = partial(find_helm, session.runner, ROOT, say=session.console.say)
    warn = session.console.warn
    if own.cluster.kind == "context":
        helm = Helm(session.runner, find, own.cluster.name, None)
        return Cluster(own.cluster.name, say=warn), helm
    eks = EksAccess(
        session.aws(own.stack), own.cluster.name, root=ROOT, secret=session.redactor.add
    )

    def find_and_log_in() -> Path:
        eks.write_kubeconfig()
        return find()

    return (
        Cluster(eks.context, str(eks.kubeconfig), log_in=eks.log_in, say=warn),
        Helm(session.runner, find_and_log_in, eks.context, str(eks.kubeconfig)),
    )


def local(session: Session, environment: str, *, dry: bool = False) -> Target[ComposePlan]:
    """Return this machine's Docker Engine as a target; arguments as for ``target``."""
    from tasks.adapters.docker.engine import Engine
    from tasks.flows.build import resolve_images
    from tasks.flows.compose.context import Context
    from tasks.flows.compose.target import compose_target

    engine = Engine()
    images = registry(session, environment)
    context = Context(
        settings=session.settings_of(environment),
        environment=environment,
        engine=engine,
        runner=session.runner,
        root=ROOT,
        platform=platform(session, standins(session, environment), engine, dry=dry),
        find_images=partial(resolve_images, images),
        base=_base(session, standins(session, environment), dry=dry),
        work=session.console.work,
    )
    return compose_target(context)


def platform(
    session: Session, standins: str, engine: Engine | None = None, *, dry: bool = False
) -> Platform:
    """Return the local platform; nothing of it is started by that.

    Args:
        session: the run.
        standins: host and port of the registry that keeps the stand-ins.
        engine: the Docker Engine, where it is known already.
        dry: only look: images that have yet to be made are not made.
    """
    from tasks.adapters.docker.engine import Engine as TheEngine
    from tasks.adapters.files.lock import Lock
    from tasks.flows.compose.platform import Platform

    lock = Lock(platform_name(session.settings.project))
    return Platform(
        settings=session.settings,
        engine=engine or TheEngine(),
        runner=session.runner,
        root=ROOT,
        base=_base(session, standins, dry=dry),
        exclusive=lambda: lock.held(this_run("start the platform"), session.console.warn),
        work=session.console.work,
    )


def registry(session: Session, environment: str) -> Registry:
    """Return the registry of an environment."""
    from tasks.adapters.aws.session import Aws
    from tasks.adapters.registry.ecr import EcrRegistry, region_of
    from tasks.adapters.registry.oci import Registry as OciRegistry

    settings = session.settings_of(environment)
    own = settings.environment(environment)
    if own.registry.kind == "oci":
        return OciRegistry(own.registry.url)
    # The address says where the registry is; it need not be where the rest of the stack is.
    profile = settings.stack(own.stack).profile if own.stack else None
    return EcrRegistry(
        own.registry.url,
        Aws(region_of(own.registry.url), profile),
        create=own.registry.create,
        secret=session.redactor.add,
    )


def standins(session: Session, environment: str) -> str:
    """Return host and port of the registry that keeps an environment's stand-ins.

    They are for trying things out: the local platform's registry has them where the environment's
    own is ECR.
    """
    own = session.settings_of(environment).environment(environment).registry
    if own.kind == "ecr":
        return f"localhost:{session.settings.platform.registry_port}"
    return own.url.partition("/")[0]


def _base(session: Session, standins: str, *, dry: bool) -> Callable[[str], str]:
    """Return what turns a public image's reference into one that the engine has or can pull."""

    def base(reference: str) -> str:
        bases = session.bases(standins)
        if dry:
            return bases.look(reference).reference or reference
        return bases.resolve(reference).reference

    return base


def tail(argv: list[str], command: str) -> list[str]:
    """Return the command that a task passes on: what follows `--`, or the words of an option.

    Args:
        argv: the whole command line; invoke itself keeps what follows `--` only as one text, in
            which the words can no longer be told apart.
        command: what the option said.

    Raises:
        InputError: both were given, or the option's quotes do not match.
    """
    import shlex

    after = argv[argv.index("--") + 1 :] if "--" in argv else []
    if after and command:
        raise InputError("give the command after -- or with --command, not both")
    try:
        return after or shlex.split(command)
    except ValueError as error:
        raise InputError(f"--command {command!r}: {error}") from error
