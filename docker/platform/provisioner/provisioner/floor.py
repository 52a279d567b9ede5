"""What every namespace of an environment stands on: a quota, and no traffic that nothing allows.

No I/O. The objects bear one name, which CI jobs may not touch (helm/platform, floor.yaml).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.rules import MANAGED_BY, MANAGER, PREFIX, Place

NAME = "mautic-multidev-floor"
FLOOR = f"{PREFIX}floor"
"""The label of a namespace that is furnished; workloads are only admitted where it is."""
READY = "ready"


@dataclass(frozen=True)
class Floor:
    """What the platform's administrator has decided for all namespaces.

    Attributes:
        max_environments: how many namespaces of one environment are furnished; 0 for any number.
        quota: ``spec.hard`` of the ResourceQuota; empty for none.
        limits: ``spec.limits`` of the LimitRange; empty for none.
    """

    max_environments: int
    quota: Mapping[str, str]
    limits: Sequence[Mapping[str, Any]]

    @classmethod
    def from_json(cls, text: str) -> Floor:
        """Return what the chart helm/platform wrote."""
        data = json.loads(text)
        # Helm leaves out what the values set to null.
        return cls(data["maxEnvironments"], data.get("quota", {}), data.get("limits", []))

    def limit_for(self, place: Place) -> int:
        """Return how many namespaces of a place's environment are furnished; 0 for any number."""
        return 0 if place.protected else self.max_environments

    def wanted(self, place: Place) -> Mapping[str, Mapping[str, Any] | None]:
        """Return the spec of each object by its kind; None for an object that must not exist.

        A protected environment gets no quota and no limits: production grows by its own settings.
        """
        quota = {} if place.protected else self.quota
        limits = [] if place.protected else self.limits
        return {
            "NetworkPolicy": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
            "ResourceQuota": {"hard": dict(quota)} if quota else None,
            "LimitRange": {"limits": list(limits)} if limits else None,
        }


def manifest(kind: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object of the floor."""
    api = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "v1"
    meta = {"name": NAME, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}}
    return {"apiVersion": api, "kind": kind, "metadata": meta, "spec": dict(spec)}


def is_furnished(namespace: Mapping[str, Any]) -> bool:
    """Return True if a namespace has its floor."""
    return (namespace["metadata"].get("labels") or {}).get(FLOOR) == READY


def oldest_first(namespaces: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield namespaces by their age; those of one second by their names."""
    yield from sorted(
        namespaces, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"])
    )
