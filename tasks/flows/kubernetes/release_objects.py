"""Deletes a Helm release by its labels, in its own namespace alone.

Helm deletes what the stored manifest names. That is a Secret which everybody with rights in the
namespace may write: it could name objects of other namespaces, or of the whole cluster, which
would then be deleted with the rights of whoever cleans up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.parallel import map_parallel
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.manifests import INSTANCE
from tasks.core.kubernetes.objects import Object, annotations_of, owners_of, uid_of
from tasks.core.kubernetes.removal import (
    CLAIM,
    KINDS_BY_SETTING,
    KINDS_OF_RELEASES,
    WORKLOADS,
)
from tasks.flows.kubernetes.pods import end_pods

POLICY = "helm.sh/resource-policy"
"""Helm's annotation; with ``keep`` an object outlives its release."""


def delete_workloads(cluster: Cluster, release: str, namespace: str) -> None:
    """Delete what creates a release's pods, and with it the pods; do not wait.

    Raises:
        ClusterError: the API refused, or stayed unreachable.
    """
    _delete(cluster, find_objects(cluster, WORKLOADS, release, namespace))


def delete_release(
    cluster: Cluster, release: str, namespace: str, say: Callable[[str], None], *, keep: bool
) -> None:
    """Delete a release's objects, wait until its pods are gone, then delete its revisions.

    The revisions are last, so that a run that was cut off is followed by one that goes on.

    Args:
        say: called with what is waited for.
        keep: leave what Helm would keep, such as claims with ``media.keep``.

    Raises:
        DeadlineError: a pod is not gone; the message names what blocks it.
        ClusterError: the API refused, or stayed unreachable.
    """
    delete_workloads(cluster, release, namespace)
    rest = [kind for kind in KINDS_OF_RELEASES if kind not in WORKLOADS]
    found = find_objects(cluster, rest, release, namespace)
    # A StatefulSet decides over its own claims: it may retain them.
    going = [item for item in found if not (item["kind"] == CLAIM and owners_of(item))]
    if keep:
        going = [item for item in going if annotations_of(item).get(POLICY) != "keep"]
    _delete(cluster, going)
    end_pods(cluster, release, namespace, say)
    revisions = cluster.find("Secret", namespace, f"owner=helm,name={release}", metadata_only=True)
    _delete(cluster, revisions)


def find_objects(
    cluster: Cluster, kinds: Sequence[str], release: str, namespace: str
) -> list[Object]:
    """Return the metadata of a release's objects of these kinds, as far as the cluster has such.

    Args:
        release: the release; an empty string for whosever they are.

    Raises:
        ClusterError: the API refused, or stayed unreachable.
    """
    selector = f"{INSTANCE}={release}" if release else ""

    def find(kind: str) -> list[Object]:
        try:
            return cluster.find(kind, namespace, selector, metadata_only=True)
        except ClusterError as error:
            # The cluster does not serve such a kind, or the platform does not use it.
            if error.status != 404 and not (error.status == 403 and kind in KINDS_BY_SETTING):
                raise
            return []

    return [item for found in map_parallel(find, kinds) for item in found]


def _delete(cluster: Cluster, found: list[Object]) -> None:
    def delete(item: Object) -> None:
        meta = item["metadata"]
        cluster.delete(item["kind"], meta["name"], meta["namespace"], uid=uid_of(item))

    map_parallel(delete, found)
