"""Whose a namespace is stands on it, and is changed there."""

from __future__ import annotations

from dataclasses import replace

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.environment import Owner
from tasks.core.errors import RefusedError
from tasks.core.kubernetes.manifests import PREFIX, stated_owner
from tasks.core.names import Names


def adopt(cluster: Cluster, owner: Owner, names: Names, former: str, /) -> None:
    """Make a branch's namespace another repository's.

    Args:
        cluster: the cluster.
        owner: whose it is from now on.
        names: the branch's names.
        former: the repository that it belongs to.

    Raises:
        RefusedError: it is not that one's, or is gone.
        ConflictError: somebody else has changed it meanwhile.
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
