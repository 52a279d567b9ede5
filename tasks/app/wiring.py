"""Puts together an environment's target and registry, and the platforms.

A run uses one target, so only that target's flows are imported.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.aws.efs import FileSystems
from tasks.adapters.aws.eks import EksAccess
from tasks.adapters.aws.session import Aws
from tasks.adapters.aws.signing_key import SigningKey
from tasks.adapters.docker.base_images import BaseImages
from tasks.adapters.docker.engine import Engine
from tasks.adapters.docker.standins import Standins
from tasks.adapters.files.download import fetch
from tasks.adapters.files.lock import FileLock
from tasks.adapters.gitlab import is_job
from tasks.adapters.host.tools import find_helm
from tasks.adapters.identity import this_run
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Helm
from tasks.adapters.kubernetes.token_access import TokenAccess
from tasks.adapters.registry.ecr import EcrRegistry, region_of
from tasks.adapters.registry.oci import OciRegistry
from tasks.app.paths import RECORD, ROOT
from tasks.app.pins import present_pins
from tasks.app.prices import prices_of
from tasks.app.seed_key import has_seed_key, seed_key
from tasks.app.session import Session
from tasks.core.errors import InputError, NoImageError, SettingsError
from tasks.core.kubernetes.platform import inputs_of
from tasks.core.kubernetes.provisioner import fingerprint_of_key
from tasks.core.names import Names, platform_name
from tasks.core.settings import ClusterSettings, Environment
from tasks.flows.attest import ExpectedSource, verify_images
from tasks.flows.build import recorded_digests, resolve_images

if TYPE_CHECKING:
    from tasks.flows.compose.plan import ComposePlan
    from tasks.flows.compose.platform import LocalPlatform
    from tasks.flows.kubernetes.plan import ClusterPlan
    from tasks.flows.kubernetes.platform import ClusterPlatform
    from tasks.flows.registry_port import Registry
    from tasks.flows.target import Target


def target(
    session: Session,
    environment: str,
    *,
    dry: bool = False,
    images: Mapping[str, str] | None = None,
) -> Target[Any]:
    """Return the target of an environment of invoke.yaml.

    Any is the type of its plans: a deployer is given only those that it has made.

    Args:
        session: the run.
        environment: its name.
        dry: only look: images that have yet to be made are not made.
        images: a tag's images by digest, where they are known; else they are found.
    """
    if session.settings.environment(environment).target == "kubernetes":
        return _kubernetes(session, environment, images, dry=dry)
    return _compose(session, environment, images, dry=dry)


def settled(session: Session, names: Names) -> Names:
    """Return a branch's names as its environment bears them, if it has one.

    One that was deployed when names were shortened in another way keeps them.
    """
    candidates = session.names_of_all_styles(names.environment, names.branch)
    if len(candidates) == 1:
        return names
    return target(session, names.environment, dry=True).inspector.find_names(candidates)


def _kubernetes(
    session: Session, environment: str, images: Mapping[str, str] | None, *, dry: bool
) -> Target[ClusterPlan]:
    """Return the cluster of an environment as its target; arguments as for ``target``."""
    from tasks.flows.kubernetes.context import ClusterContext
    from tasks.flows.kubernetes.target import kubernetes_target

    def find(tag: str, /) -> Mapping[str, str]:
        return images or _find_images(session, environment, tag)

    access, helm = cluster(session, environment)
    context = ClusterContext(
        settings=session.settings_of(environment),
        environment=environment,
        cluster=access,
        helm=helm,
        root=session.root,
        work=session.console.work,
        redactor=session.redactor,
    )
    return kubernetes_target(
        context,
        find_images=find,
        base=_base(session, standins(session, environment), dry=dry),
        access_points=_access_points(session, environment),
    )


def _access_points(session: Session, environment: str) -> Callable[[str], int] | None:
    """Return what counts the access points of a file system, where a cluster is on AWS."""
    own = session.settings_of(environment).environment(environment)
    if not own.cluster or own.cluster.kind != "eks":
        return None
    return FileSystems(session.aws(own.stack)).access_points


def cluster(session: Session, environment: str) -> tuple[Cluster, Helm]:
    """Return the cluster of an environment whose target is Kubernetes, and Helm for it."""
    own = session.settings_of(environment).environment(environment)
    assert own.cluster, "the settings require it for this target"  # noqa: S101 - for the type
    assert own.cluster.name, "the settings require it"  # noqa: S101 - for the type
    # Listing environments needs no Helm, and must not wait for a download of it.
    find = partial(find_helm, session.runner, ROOT, say=session.console.say)
    warn = session.console.warn
    name, token, secret = own.cluster.name, _id_token(own.cluster), session.redactor.add
    access: EksAccess | TokenAccess
    if own.cluster.kind == "eks":
        access = EksAccess(session.aws(own.stack), name, root=ROOT, secret=secret, id_token=token)
    elif token:
        access = TokenAccess(name, token, secret=secret)
    else:
        return Cluster(name, say=warn), Helm(session.runner, find, name, None)

    def find_and_log_in() -> Path:
        access.write_kubeconfig()
        return find()

    return (
        Cluster(access.context, str(access.kubeconfig), log_in=access.log_in, say=warn),
        Helm(session.runner, find_and_log_in, access.context, str(access.kubeconfig)),
    )


def _id_token(cluster: ClusterSettings) -> str:
    """Return the token that a job enters a cluster with; empty for a person's own credentials.

    Raises:
        SettingsError: a job lacks it. It must not enter by a weaker way instead.
    """
    if not cluster.token:
        return ""
    token = os.environ.get(cluster.token, "")
    if not token and is_job(os.environ):
        raise SettingsError(
            f"this job has no {cluster.token}, which cluster.token names",
            hint="`id_tokens` of the job makes it: docs/gitlab.md",
        )
    return token


def _compose(
    session: Session, environment: str, images: Mapping[str, str] | None, *, dry: bool
) -> Target[ComposePlan]:
    """Return this machine's Docker Engine as a target; arguments as for ``target``."""
    from tasks.flows.compose.context import ComposeContext
    from tasks.flows.compose.target import compose_target

    settings = session.settings_of(environment)
    shared = platform(session, standins(session, environment), dry=dry)

    def find(tag: str, /) -> Mapping[str, str]:
        url = settings.environment(environment).registry.url
        if not images and shared.owns(url) and not shared.has_registry():
            raise NoImageError("nothing was built on this machine yet", hint="run inv build")
        return images or _find_images(session, environment, tag)

    context = ComposeContext(
        settings=settings,
        environment=environment,
        engine=engine(session),
        runner=session.runner,
        root=ROOT,
        platform=shared,
        find_images=find,
        base=_base(session, standins(session, environment), dry=dry),
        work=session.console.work,
    )
    return compose_target(context)


def platform(session: Session, standins: str, *, dry: bool = False) -> LocalPlatform:
    """Return the local platform, without starting it.

    Args:
        session: the run.
        standins: host and port of the registry that keeps the stand-ins.
        dry: only look: images that have yet to be made are not made.
    """
    from tasks.flows.compose.platform import LocalPlatform

    lock = FileLock(platform_name(session.settings.project))
    return LocalPlatform(
        settings=session.settings,
        engine=engine(session),
        runner=session.runner,
        root=ROOT,
        base=_base(session, standins, dry=dry),
        exclusive=lambda: lock.held(this_run("start the platform"), session.console.warn),
        work=session.console.work,
        locks=lambda: lock.folder,
    )


def cluster_environment(session: Session, env: str) -> tuple[str, Environment]:
    """Return name and settings of an environment that lives in a cluster.

    Raises:
        InputError: it does not.
    """
    environment, own = session.environment(env)
    if own.target == "kubernetes":
        return environment, own
    there = sorted(
        name
        for name, other in session.settings.environments.items()
        if other.target == "kubernetes"
    )
    raise InputError(
        f"{environment} does not live in a cluster; of invoke.yaml, do: "
        f"{', '.join(there) or 'none'}",
        hint="name one with --env",
    )


def cluster_platform(session: Session, env: str, values: Sequence[str]) -> ClusterPlatform:
    """Return the platform of the cluster that an environment lives in.

    Args:
        session: the run.
        env: what ``--env`` said.
        values: values files for helm/platform.

    Raises:
        InputError: the environment is not in a cluster, or what should be the key of seeds is none.
    """
    from tasks.flows.kubernetes.platform import ClusterPlatform

    environment, own = cluster_environment(session, env)
    settings = session.settings_of(environment)
    place = settings.environment(environment).cluster
    access, helm = cluster(session, environment)
    published = session.parameters(own.stack) if own.stack else {}
    known = fingerprint_of_key(seed_key(session)) if has_seed_key(session) else ""
    return ClusterPlatform(
        title=(place.name if place else None) or environment,
        inputs=inputs_of(settings, environment, published, known, partial(prices_of, settings)),
        files=[Path(name) for name in values],
        cluster=access,
        helm=helm,
        root=session.root,
        fetch=fetch,
        work=session.console.work,
        warn=session.console.warn,
    )


def _find_images(session: Session, environment: str, tag: str) -> dict[str, str]:
    """Return both images of a tag by digest, as this checkout's build.json or the registry says.

    Those of a protected environment must be stated to come from what is checked out.
    """
    built = recorded_digests(RECORD, environment, tag)
    place = registry(session, environment)
    found = resolve_images(place, tag, built)
    if session.settings.environment(environment).protected:
        expected = ExpectedSource(
            environment,
            session.git.repository(),
            session.git.commit(),
            signing_key(session, environment),
        )
        digests = {name: reference.rpartition("@")[2] for name, reference in found.items()}
        for name, source in verify_images(place, digests, expected).items():
            session.console.say(f"{name}: built from {source.commit} by {source.builder}")
    return found


def signing_key(session: Session, environment: str) -> SigningKey | None:
    """Return the key that signs what is stated of an environment's images, or None."""
    own = session.settings.environment(environment)
    if own.signing_key is None:
        return None
    # The key says where it is; it need not be where the rest of the stack is.
    profile = session.settings.stack(own.stack).profile if own.stack else None
    return SigningKey(Aws(own.signing_key.split(":")[3], profile), own.signing_key)


def registry(session: Session, environment: str) -> Registry:
    """Return the registry of an environment."""
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

    They are not for production: if the environment's registry is ECR, they are stored in the local
    platform's.
    """
    own = session.settings_of(environment).environment(environment).registry
    if own.kind == "ecr":
        return f"localhost:{session.settings.platform.registry_port}"
    return own.url.partition("/")[0]


@cache
def engine(session: Session) -> Engine:
    """Return the Docker Engine, one client per run: each asks for its version first."""
    return Engine()


@cache
def bases(session: Session, standins: str) -> BaseImages:
    """Return the resolver of base images, one per run.

    Args:
        session: the run.
        standins: host and port of the registry that keeps the stand-ins.
    """
    images = session.settings.images
    return BaseImages(
        engine(session),
        Standins(
            session.runner,
            engine(session),
            ROOT,
            host=standins,
            suite=images.debian,
            work=session.console.work,
        ),
        source=images.source,
        warn=session.console.warn,
        pins=present_pins(),
    )


def _base(session: Session, standins: str, *, dry: bool) -> Callable[[str], str]:
    """Return a function from a public image's reference to one that the engine has or can pull."""

    def base(reference: str) -> str:
        found = bases(session, standins)
        if dry:
            return found.look(reference).reference or reference
        return found.resolve(reference).reference

    return base
