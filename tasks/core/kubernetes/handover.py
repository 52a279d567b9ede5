"""The network policies that let one branch's PHP container reach another's, for one handover."""

from __future__ import annotations

from tasks.core.kubernetes.labels import COMPONENT, INSTANCE, MANAGED
from tasks.core.kubernetes.network import NAME_LABEL
from tasks.core.kubernetes.objects import Object
from tasks.core.names import Names

CLOSED = f"{COMPONENT}=network"
"""Selects the chart's own policies. Without any all is open, and one would close the rest."""


def policies(names: Names, other: Names, port: int) -> tuple[Object, Object]:
    """Return the policy in each namespace: of the branch that is reached, and of the other one.

    What a run that was killed has left is what the next one makes; nothing listens at the port
    then.

    Args:
        names: the names of the branch that is reached.
        other: those of the one that reaches it.
        port: where.
    """
    ports = [{"protocol": "TCP", "port": port}]
    way_in = {"ports": ports, "from": [_web_of(other)]}
    way_out = {"ports": ports, "to": [_web_of(names)]}
    return (
        # One branch gets data from one other at a time.
        _policy(names, "handover", {"policyTypes": ["Ingress"], "ingress": [way_in]}),
        _policy(
            *(other, f"handover-to-{names.namespace}"),
            {"policyTypes": ["Egress"], "egress": [way_out]},
        ),
    )


def _policy(names: Names, name: str, rules: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": names.namespace, "labels": MANAGED},
        "spec": {"podSelector": _web(names), **rules},
    }


def _web_of(names: Names) -> Object:
    inside = {"matchLabels": {NAME_LABEL: names.namespace}}
    return {"namespaceSelector": inside, "podSelector": _web(names)}


def _web(names: Names) -> Object:
    return {"matchLabels": {INSTANCE: names.release, COMPONENT: "web"}}
