"""Puts together what lives in a cluster: an environment's target, and the cluster's platform."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

from tasks.adapters.aws.efs import FileSystems
from tasks.adapters.aws.eks import EksAccess
from tasks.adapters.files.download import fetch
from tasks.adapters.gitlab import is_job
from tasks.adapters.host.tools import find_helm
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Helm
from tasks.adapters.kubernetes.token_access import TokenAccess
from tasks.app import wiring
from tasks.app.paths import ROOT
from tasks.app.prices import prices_of
from tasks.app.seed_key import has_seed_key, seed_key
from tasks.app.session import Session
from tasks.core.errors import SettingsError
from tasks.core.kubernetes.platform import inputs_of
from tasks.core.kubernetes.provisioner import fingerprint_of_key
from tasks.core.settings import ClusterSettings
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.platform import ClusterPlatform
from tasks.flows.kubernetes.target import kubernetes_target
from tasks.flows.target import Target


def cluster_target(
    session: Session, environment: str, images: Mapping[str, str] | None, *, dry: bool
) -> Target[ClusterPlan]:
    """Return the cluster of an environment as its target; arguments as for ``wiring.target``."""

    def find(tag: str, /) -> Mapping[str, str]:
        return images or wiring.find_images(session, environment, tag)

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
        registry=cache(partial(wiring.registry, session, environment)),
        base=wiring.base_of(session, wiring.standins(session, environment), dry=dry),
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


def cluster_platform(session: Session, env: str, values: Sequence[str]) -> ClusterPlatform:
    """Return the platform of the cluster that an environment lives in.

    Args:
        session: the run.
        env: what ``--env`` said.
        values: values files for helm/platform.

    Raises:
        InputError: the environment is not in a cluster, or what should be the key of seeds is none.
    """
    environment, own = wiring.cluster_environment(session, env)
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
