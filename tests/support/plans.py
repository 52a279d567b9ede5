"""What others do to a branch's environment in the tests' control plane."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tasks.core.names import Names
from tests.support.deploys import Deploys, Object
from tests.support.suite import git


@dataclass
class World:
    """One branch's environment, changed by others than the suite.

    Attributes:
        settings: those of the run that is refused.
    """

    deploys: Deploys
    branch: str
    settings: Object = field(default_factory=dict)

    @property
    def names(self) -> Names:
        return self.deploys.names(self.branch)

    @property
    def checkout(self) -> Path:
        return self.deploys.env.checkout

    @property
    def tag(self) -> str:
        return git(self.checkout, "rev-parse", "--short=8", "HEAD")

    def name(self, component: str) -> str:
        return f"{self.names.release}-{component}"

    def patch(self, kind: str, name: str, patch: Object) -> None:
        self.deploys.cluster.patch(kind, name, self.names.namespace, patch)

    def create(self, manifest: Object) -> None:
        manifest["metadata"]["namespace"] = self.names.namespace
        self.deploys.cluster.create(manifest)

    def delete(self, kind: str, name: str) -> None:
        assert self.deploys.cluster.delete(kind, name, self.names.namespace)

    def bring_back(self, item: Object) -> None:
        """Make an object again that was deleted."""
        kept = {key: item["metadata"].get(key) for key in ("name", "labels", "annotations")}
        rest = {key: value for key, value in item.items() if key != "status"}
        self.create({**rest, "metadata": kept})

    def object(self, kind: str, name: str) -> Object:
        found = self.deploys.cluster.get(kind, name, self.names.namespace)
        assert found
        return found

    def annotate(self, notes: dict[str, str | None]) -> None:
        patch = {"metadata": {"annotations": notes}}
        self.deploys.cluster.patch("Namespace", self.names.namespace, None, patch)
