"""Transfers a namespace to another repository, by its annotation."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from tasks.core.environment import Holder, Owner
from tasks.core.errors import RefusedError
from tasks.core.kubernetes.manifests import PREFIX
from tasks.core.kubernetes.record import stated_owner
from tasks.core.names import Names
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.target import Say


@dataclass(frozen=True)
class ClusterAdopter:
    """Transfers environments; errors as for ``Adopter``."""

    context: ClusterContext

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the Lease of the branch's namespace."""
        return self.context.exclusive(names, me, warn)

    def adopt(self, owner: Owner, names: Names, former: str) -> None:
        """Write the new owner to the branch's namespace.

        Raises:
            RefusedError: it belongs to another repository, or is gone.
            ConflictError: another client has changed it meanwhile.
        """
        cluster = self.context.cluster
        found = cluster.get("Namespace", names.namespace)
        if found is None:
            raise RefusedError(f"namespace {names.namespace} is gone")
        if difference := replace(owner, repository=former).difference(stated_owner(found)):
            raise RefusedError(f"namespace {names.namespace} is not {former}'s: {difference}")
        metadata = {
            "resourceVersion": found["metadata"]["resourceVersion"],
            "annotations": {f"{PREFIX}repository": owner.repository},
        }
        cluster.patch("Namespace", names.namespace, None, {"metadata": metadata})
