"""Puts together an environment's target and registry, and the platforms.

A run uses one target, so only that target's flows are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from tasks.adapters.docker.engine import Engine
from tasks.adapters.files.lock import FileLock
from tasks.adapters.identity import this_run
from tasks.app.paths import RECORD, ROOT
from tasks.app.session import Session
from tasks.core.errors import InputError, NoImageError
from tasks.core.names import Names, platform_name
from tasks.core.settings import Environment

if TYPE_CHECKING:
    from tasks.adapters.aws.signing_key import SigningKey
    from tasks.adapters.docker.base_images import BaseImages
    from tasks.flows.compose.plan import ComposePlan
    from tasks.flows.compose.platform import LocalPlatform
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
        from tasks.app.clusters import cluster_target

        return cluster_target(session, environment, images, dry=dry)
    return _compose(session, environment, images, dry=dry)


def settled(session: Session, names: Names) -> Names:
    """Return a branch's names as its environment bears them, if it has one.

    One that was deployed when names were shortened in another way keeps them.
    """
    candidates = session.names_of_all_styles(names.environment, names.branch)
    if len(candidates) == 1:
        return names
    return target(session, names.environment, dry=True).inspector.find_names(candidates)


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
        return images or find_images(session, environment, tag)

    context = ComposeContext(
        settings=settings,
        environment=environment,
        engine=engine(session),
        runner=session.runner,
        root=ROOT,
        platform=shared,
        find_images=find,
        base=base_of(session, standins(session, environment), dry=dry),
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
        base=base_of(session, standins, dry=dry),
        exclusive=lambda: lock.held(this_run("start the platform"), session.console.warn),
        work=session.console.work,
        locks=lambda: lock.folder,
    )


def idle_platform(session: Session, environment: str) -> str:
    """Return what of the local platform does not run, and what starts it; empty if all does."""
    if session.settings.environment(environment).target == "kubernetes":
        return ""
    down = platform(session, standins(session, environment), dry=True).down()
    if not down:
        return ""
    return f"the local platform's {', '.join(down)}: any inv wake or inv deploy starts it"


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


def find_images(session: Session, environment: str, tag: str) -> dict[str, str]:
    """Return both images of a tag by digest, as this checkout's build.json or the registry says.

    Those of a protected environment must be stated to come from what is checked out.
    """
    from tasks.flows.build import recorded_digests, resolve_images

    built = recorded_digests(RECORD, environment, tag)
    place = registry(session, environment)
    found = resolve_images(place, tag, built)
    if session.settings.environment(environment).protected:
        from tasks.flows.attest import ExpectedSource, verify_images

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
    from tasks.adapters.aws.session import Aws
    from tasks.adapters.aws.signing_key import SigningKey

    # The key says where it is; it need not be where the rest of the stack is.
    profile = session.settings.stack(own.stack).profile if own.stack else None
    return SigningKey(Aws(own.signing_key.split(":")[3], profile), own.signing_key)


def registry(session: Session, environment: str) -> Registry:
    """Return the registry of an environment."""
    settings = session.settings_of(environment)
    own = settings.environment(environment)
    if own.registry.kind == "oci":
        from tasks.adapters.registry.oci import OciRegistry

        return OciRegistry(own.registry.url)
    from tasks.adapters.aws.session import Aws
    from tasks.adapters.registry.ecr import EcrRegistry, region_of

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
    from tasks.adapters.docker.base_images import BaseImages
    from tasks.adapters.docker.standins import Standins
    from tasks.app.pins import present_pins

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


def base_of(session: Session, standins: str, *, dry: bool) -> Callable[[str], str]:
    """Return a function from a public image's reference to one that the engine has or can pull."""

    def base(reference: str) -> str:
        found = bases(session, standins)
        if dry:
            return found.look(reference).reference or reference
        return found.resolve(reference).reference

    return base
