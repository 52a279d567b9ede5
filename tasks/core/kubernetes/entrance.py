"""The entrance of a cluster's environments, as the suite sees it: what it is given.

docker/platform/entrance is the other side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.core.errors import SettingsError
from tasks.core.kubernetes.manifests import MANAGED, encoded
from tasks.core.kubernetes.objects import Object
from tasks.core.setting_entrance import page_host
from tasks.core.settings import Environment

NAME = "mautic-entrance"
"""Its Deployment, Service, ConfigMap and account; with an environment's name, its routes."""
POLICIES = ("entrance-namespaces", "entrance-scale", "entrance-schedules", "entrance-leases")
"""The admission policies of it."""
PAGE_SECRET = f"{NAME}-page"
"""The Secret with the password of the page of all environments."""
PASSWORD = "password"  # noqa: S105 - the key's name


def branch_values(own: Environment) -> dict[str, Any]:
    """Return the values of helm/mautic by which the entrance, and nobody else, reaches a branch."""
    if not own.entrance:
        return {}
    return {
        "route": {"kind": "entrance"},
        "networkPolicy": {"gateway": {"namespaces": [own.platform_namespace], "cidrs": []}},
    }


def image_of(here: Mapping[str, Environment]) -> str:
    """Return the image of the entrance of a cluster; empty if it has none.

    Args:
        here: the environments of the cluster, by name.

    Raises:
        SettingsError: two environments name different ones, or have one wildcard.
    """
    led = {name: own for name, own in here.items() if own.entrance}
    images = {own.entrance for own in led.values()}
    if len(images) > 1:
        raise SettingsError(
            f"environments {', '.join(sorted(led))} name different images of the entrance",
            hint="a cluster has one: give `entrance` the same digest in all of them",
        )
    domains = [own.host.partition(".")[2] for own in led.values()]
    if len(domains) > len(set(domains)):
        raise SettingsError(
            f"environments {', '.join(sorted(led))} have hosts below one domain",
            hint="with an entrance, give each of them a domain of its own in `host`",
        )
    return next(iter(images), "")


def page_secret(namespace: str, password: str) -> Object:
    """Return the Secret with the password of the page of all environments.

    Args:
        namespace: the platform namespace.
    """
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": PAGE_SECRET, "namespace": namespace, "labels": MANAGED},
        "type": "Opaque",
        "data": encoded({PASSWORD: password}),
    }


def site(
    names: Mapping[str, str], chart: Mapping[str, Any], prices: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the entrance is told of an environment.

    Args:
        names: ``host`` and ``namespace`` of its branches, with ``{slug}``.
        chart: the values of helm/mautic by its files alone: how its visitors come.
        prices: what its branches cost.
    """
    gateway = chart["networkPolicy"]["gateway"]
    return {
        "host": names["host"],
        "namespace": names["namespace"],
        "page": page_host(names["host"]),
        "prices": dict(prices),
        "route": dict(chart["route"]),
        "from": {"cidrs": gateway["cidrs"], "namespaces": gateway["namespaces"]},
    }
