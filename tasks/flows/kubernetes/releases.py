"""A Helm release's revisions, as the cluster keeps them."""

from __future__ import annotations

from tasks.adapters.cluster import Cluster
from tasks.adapters.helm import Revision


def revisions(cluster: Cluster, release: str, namespace: str) -> list[Revision]:
    """Return a release's revisions, the oldest first; none when there is no such release.

    Helm keeps each in a Secret and finds them by these labels (its storage driver ``secret``,
    pkg/storage/driver/secrets.go). Asking the API for the labels alone spares a start of Helm,
    which would read, unpack and parse every revision's manifests.

    Args:
        cluster: the cluster.
        release: the release's name.
        namespace: where it is.
    """
    selector = f"owner=helm,name={release}"
    found = cluster.find("Secret", namespace, selector, metadata_only=True)
    labels = (item["metadata"]["labels"] for item in found)
    unsorted = (Revision(int(each["version"]), each["status"]) for each in labels)
    return sorted(unsorted, key=lambda revision: revision.number)
