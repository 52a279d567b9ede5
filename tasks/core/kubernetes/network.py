"""What an environment's NetworkPolicies may open: what the platform holds those of CI jobs to.

It is read from the chart values of the administrator who runs `inv platform.apply`, so what a
branch writes into its own copy of them opens nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.core.errors import SettingsError

NAME_LABEL = "kubernetes.io/metadata.name"
POD_IDENTITY = ("169.254.170.23/32", 80)
DNS_PORT = 53

_ADDRESS = re.compile(r"\d+(\.\d+){3}\Z")


def network_rules(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return who may reach an environment, and whom it may reach.

    Args:
        values: all values of the chart helm/mautic for this environment.

    Returns:
        ``ingress`` with lists of ``cidrs`` and ``namespaces``, ``egress`` with the ports by CIDR
        and by namespace, ``internet``.

    Raises:
        SettingsError: a rule of ``networkPolicy.extraEgress`` cannot be expressed.
    """
    policy = values["networkPolicy"]
    cidrs: dict[str, set[int]] = {}
    namespaces: dict[str, set[int]] = {}
    for peers, ports in _destinations(values):
        for found, key in ((cidrs, "cidrs"), (namespaces, "namespaces")):
            for name in peers.get(key, ()):
                found.setdefault(name, set()).update(ports)
    return {
        "ingress": {key: sorted(policy["gateway"][key]) for key in ("cidrs", "namespaces")},
        "egress": {"cidrs": _sorted(cidrs), "namespaces": _sorted(namespaces)},
        "internet": bool(policy["internet"]["enabled"]),
    }


def _sorted(found: Mapping[str, set[int]]) -> dict[str, list[int]]:
    return {name: sorted(found[name]) for name in sorted(found)}


Peers = Mapping[str, Sequence[str]]


def _destinations(values: Mapping[str, Any]) -> Iterator[tuple[Peers, Sequence[int]]]:
    policy = values["networkPolicy"]
    yield policy["dns"], [DNS_PORT]
    for name in ("database", "redis"):
        server = values[name]
        yield policy[name], [server["port"]]
        if _ADDRESS.match(server["host"]):
            yield {"cidrs": [f"{server['host']}/32"]}, [server["port"]]
    if policy["podIdentity"]:
        cidr, port = POD_IDENTITY
        yield {"cidrs": [cidr]}, [port]
    for index, rule in enumerate(policy["extraEgress"]):
        yield from _extra(rule, f"networkPolicy.extraEgress[{index}]")


def _extra(rule: Mapping[str, Any], where: str) -> Iterator[tuple[Peers, Sequence[int]]]:
    ports = [each.get("port") for each in rule.get("ports") or ()]
    if not ports or not all(isinstance(port, int) for port in ports):
        raise SettingsError(f"{where}: on a cluster with a platform it must name ports, by number")
    for peer in rule.get("to") or ():
        if "ipBlock" in peer:
            yield {"cidrs": [peer["ipBlock"]["cidr"]]}, ports
        elif "namespaceSelector" in peer:
            yield {"namespaces": _names(peer["namespaceSelector"], where)}, ports
        # Pods of the same namespace are always open to each other's policies.


def _names(selector: Mapping[str, Any], where: str) -> list[str]:
    labels = selector.get("matchLabels") or {}
    found = [labels[NAME_LABEL]] if NAME_LABEL in labels else []
    for rule in selector.get("matchExpressions") or ():
        if (rule["key"], rule["operator"]) == (NAME_LABEL, "In"):
            found += rule["values"]
    if not found:
        raise SettingsError(
            f"{where}: on a cluster with a platform it must name namespaces by {NAME_LABEL}"
        )
    return found
