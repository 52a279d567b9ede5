"""Transfers a namespace to another repository, by its annotation."""

from __future__ import annotations

from dataclasses import replace

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.environment import Owner
from tasks.core.errors import RefusedError
from tasks.core.kubernetes.manifests import PREFIX, stated_owner
from tasks.core.names import Names


def adopt(cluster: Cluster, owner: Owner, names: Names, former: str, /) -> None:
    """Transfer a branch's namespace to another repository.

    Args:
        owner: the new owner.
        names: the branch's names.
        former: the repository that owns it now.

    Raises:
        RefusedError: it belongs to another repository, or is gone.
        ConflictError: another client has changed it meanwhile.
    """
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
