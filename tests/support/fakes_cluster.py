"""Fakes of a cluster and of Helm with one release: objects in memory, and recorded requests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tests.support.fakes import Calls

RELEASE, NAMESPACE = "mautic-feature-x", "mautic-feature-x"


@dataclass
class FakeCluster(Calls):
    """Keeps objects by kind, namespace and name; deleted objects are gone at once.

    Attributes:
        forbidden: what this user may not do, e.g. ``create Secret``; ``*`` for what it may not do
            everywhere.
    """

    objects: dict[tuple[str, str | None, str], dict[str, Any]] = field(default_factory=dict)
    forbidden: Collection[str] = ()

    def put(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        labels: dict[str, str] | None = None,
        **meta: Any,
    ) -> None:
        """Add an object."""
        known = {"name": name, "namespace": namespace, "uid": f"uid of {name}"}
        metadata = {**known, "labels": labels or {}, **meta}
        self.objects[kind, namespace, name] = {"kind": kind, "metadata": metadata}

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        found = self.objects.get((kind, namespace, name))
        if found and "deletionTimestamp" in found["metadata"]:
            # It has gone since it was listed.
            self.note(f"wait for {kind} {name}")
            del self.objects[kind, namespace, name]
            return None
        return found

    def find(
        self,
        kind: str,
        namespace: str | None = None,
        selector: str = "",
        *,
        metadata_only: bool = False,
    ) -> list[dict[str, Any]]:
        wanted = dict(each.split("=") for each in selector.split(",") if each)
        return [
            item
            for (own, place, _), item in self.objects.items()
            if (own, place) == (kind, namespace)
            and wanted.items() <= item["metadata"]["labels"].items()
        ]

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
        uid: str = "",
    ) -> bool:
        self.note(f"delete {kind} {name}")
        return self.objects.pop((kind, namespace, name), None) is not None

    def may(self, verb: str, kind: str, namespace: str | None = None) -> bool:
        return f"{verb} {kind}" not in self.forbidden


@dataclass
class FakeHelm(Calls):
    """Keeps the revisions of one release as Helm does: each a Secret with its number and status."""

    cluster: FakeCluster = field(default_factory=FakeCluster)

    def record(self, *statuses: str) -> None:
        """Let the release have revisions of these statuses, the oldest first."""
        for number, status in enumerate(statuses, 1):
            self._put(number, status)

    def rollback(
        self, release: str, namespace: str, revision: int, *, timeout_seconds: int
    ) -> None:
        self.note(f"rollback {revision}")
        there = self.revisions
        for number, status in there.items():
            if status == "deployed":
                self._put(number, "superseded")
        self._put(max(there) + 1, "deployed")

    def uninstall(self, release: str, namespace: str, *, timeout_seconds: int) -> None:
        self.note("uninstall")
        for number in self.revisions:
            del self.cluster.objects["Secret", NAMESPACE, _stored(number)]
        for claim in self.cluster.find("PersistentVolumeClaim", NAMESPACE):
            if "keep" not in claim["metadata"]["labels"]:
                claim["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    @property
    def revisions(self) -> dict[int, str]:
        """The status of each revision."""
        labels = [item["metadata"]["labels"] for item in self.cluster.find("Secret", NAMESPACE)]
        return {int(each["version"]): each["status"] for each in labels}

    def _put(self, number: int, status: str) -> None:
        labels = {"owner": "helm", "name": RELEASE, "version": str(number), "status": status}
        self.cluster.put("Secret", _stored(number), NAMESPACE, labels=labels)


def _stored(number: int) -> str:
    return f"sh.helm.release.v1.{RELEASE}.v{number}"
