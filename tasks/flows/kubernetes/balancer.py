"""Asks the load balancer in front of a site, where it and not nginx asks visitors for a login."""

from __future__ import annotations

from typing import Any

from tasks.adapters.http import SiteClient
from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.platform import address_of
from tasks.core.names import Names


def balancer(cluster: Cluster, names: Names) -> SiteClient:
    """Return a client of the load balancer that a branch's route is attached to.

    It is asked by the address that its Gateway tells, so it works before there is DNS.

    Raises:
        SuiteError: there is no route, or its Gateway has no such listener or no address yet.
    """
    route = cluster.get("HTTPRoute", f"{names.release}-web", names.namespace)
    if not route:
        raise SuiteError(f"{names.namespace} has no HTTPRoute, which a load balancer's login needs")
    parent = route["spec"]["parentRefs"][0]
    where = parent.get("namespace", names.namespace)
    gateway = cluster.get("Gateway", parent["name"], where)
    listener = https_listener(gateway, parent.get("sectionName", "")) if gateway else None
    address = address_of(gateway) if gateway else ""
    if not listener or not address:
        raise SuiteError(f"the gateway {where}/{parent['name']} has no address for HTTPS yet")
    return SiteClient(address, listener["port"], names.host, tls=True)


def https_listener(gateway: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return a Gateway's HTTPS listener of that name, or None."""
    for listener in gateway["spec"]["listeners"]:
        if (listener["name"], listener["protocol"]) == (name, "HTTPS"):
            found: dict[str, Any] = listener
            return found
    return None
