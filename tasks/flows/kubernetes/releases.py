"""A Helm release's revisions, as the cluster keeps them."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from gzip import decompress

from tasks.adapters.cluster import Cluster
from tasks.adapters.helm import Revision, stored


def revisions(cluster: Cluster, release: str, namespace: str) -> list[Revision]:
    """Return a release's revisions, the oldest first; none when there is no such release.

    Helm keeps each in a Secret and finds them by these labels (its storage driver ``secret``,
    pkg/storage/driver/secrets.go). Asking the API for the labels alone spares a start of Helm,
    which would read, unpack and parse every revision's manifests. Only of a newest one that bears
    ``failed`` is the record itself read: a Helm that is told to end while it runs a hook writes
    the record and the label in turn with what marks it as failed, so that the record may still say
    ``pending-…``, and that is what the next Helm goes by (seen with 4.3.1).

    Args:
        cluster: the cluster.
        release: the release's name.
        namespace: where it is.
    """
    selector = f"owner=helm,name={release}"
    found = cluster.find("Secret", namespace, selector, metadata_only=True)
    labels = (item["metadata"]["labels"] for item in found)
    unsorted = (Revision(int(each["version"]), each["status"]) for each in labels)
    ordered = sorted(unsorted, key=lambda revision: revision.number)
    if ordered and ordered[-1].status == "failed":
        ordered[-1] = _recorded(cluster, release, namespace, ordered[-1])
    return ordered


def _recorded(cluster: Cluster, release: str, namespace: str, labelled: Revision) -> Revision:
    """Return a revision with the status in its own record: gzipped JSON, encoded twice."""
    found = cluster.get("Secret", stored(release, labelled.number), namespace)
    if found is None:  # it has gone in the meantime
        return labelled
    record = json.loads(decompress(b64decode(b64decode(found["data"]["release"]))))
    return replace(labelled, status=record["info"]["status"])
