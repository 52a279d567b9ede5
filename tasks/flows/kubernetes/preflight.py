"""Checks what a deploy needs of a cluster, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.parallel import map_parallel
from tasks.core.errors import ClusterError, SuiteError
from tasks.core.kubernetes.entrance import NAME as ENTRANCE
from tasks.core.kubernetes.rights import needed
from tasks.flows.kubernetes.access import may_grant_access
from tasks.flows.kubernetes.balancer import https_listener


def preflight(
    cluster: Cluster,
    namespace: str,
    values: Mapping[str, Any],
    *,
    exists: bool,
    more: Iterable[str] = (),
) -> None:
    """Check that a deploy can work.

    Args:
        values: the chart's merged values.
        exists: whether the namespace exists.
        more: further problems.

    Raises:
        SuiteError: something is missing; the error names everything that is.
    """
    problems = [
        *_forbidden(cluster, namespace, values, exists=exists),
        *_classes(cluster, values),
        *_route(cluster, namespace, values),
        *more,
    ]
    if problems:
        raise SuiteError(
            "the cluster is not ready for this deploy: " + "; ".join(problems),
            hint="nothing was changed; the values files of the environment name classes and "
            "gateways, and whoever administers the cluster grants permissions",
        )


def entrance_problems(cluster: Cluster, platform: str, environment: str) -> Iterator[str]:
    """Yield why the platform's entrance does not lead to an environment.

    Args:
        platform: the platform namespace.
    """
    try:
        found = cluster.get("Deployment", ENTRANCE, platform)
    except ClusterError as error:
        # A platform from before it gives no right to look.
        if error.status != 403:
            raise
        found = None
    if found is None:
        yield (
            f"there is no entrance in {platform}, and nobody would reach the site; an "
            f"administrator installs it: inv platform.apply --env {environment}"
        )


def _forbidden(
    cluster: Cluster, namespace: str, values: Mapping[str, Any], *, exists: bool
) -> Iterator[str]:
    if not exists and not cluster.may("create", "Namespace"):
        yield "you may not create namespaces"
    if not exists and may_grant_access(cluster, namespace):
        return  # the creator of the namespace gets the rights with it
    if cluster.may("*", "*", namespace):
        return
    wanted = needed(values)
    allowed = map_parallel(lambda need: cluster.may(*need, namespace), wanted)
    lacking: dict[str, list[str]] = {}
    for (verb, kind), may in zip(wanted, allowed, strict=True):
        if not may:
            lacking.setdefault(kind, []).append(verb)
    for kind, verbs in lacking.items():
        yield f"you may not {', '.join(verbs)} {kind} objects in {namespace}"


def _classes(cluster: Cluster, values: Mapping[str, Any]) -> Iterator[str]:
    for where in ("media", "mysql"):
        settings = values.get(where) or {}
        name = settings.get("storageClass")
        if name and not cluster.get("StorageClass", name):
            yield f"there is no storage class {name} ({where}.storageClass)"


def _route(cluster: Cluster, own: str, values: Mapping[str, Any]) -> Iterator[str]:
    route = values.get("route") or {}
    if route.get("kind") == "ingress":
        name = (route.get("ingress") or {}).get("className")
        if name and not cluster.get("IngressClass", name):
            yield f"there is no ingress class {name} (route.ingress.className)"
    if route.get("kind") == "httproute":
        gateway = route.get("gateway") or {}
        name, namespace = gateway.get("name", ""), gateway.get("namespace") or own
        found, section = cluster.get("Gateway", name, namespace), gateway.get("sectionName", "")
        if not found:
            yield f"there is no gateway {namespace}/{name} (route.gateway)"
        elif values["door"]["oidc"]["userPoolArn"] and not https_listener(found, section):
            yield (
                f"the gateway {namespace}/{name} has no HTTPS listener {section!r} "
                "(route.gateway.sectionName), and door: oidc needs one"
            )
