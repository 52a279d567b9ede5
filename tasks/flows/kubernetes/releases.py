"""The revisions of a Helm release: reads, repairs and rolls back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.kubernetes.helm import Helm, Revision, revision_secret_name
from tasks.adapters.kubernetes.stored_release import unpack
from tasks.core.errors import ClusterError, UnreadableError
from tasks.core.images.wait_messages import last_message
from tasks.core.kubernetes.manifests import INSTANCE, JOB_NAME
from tasks.core.kubernetes.objects import (
    Object,
    annotations_of,
    has_condition,
    has_ended,
    is_being_deleted,
    is_running,
    main_statuses,
    owners_of,
    uid_of,
)
from tasks.flows.kubernetes.pods import end_pod
from tasks.flows.kubernetes.release_objects import delete_release
from tasks.flows.kubernetes.replicas import keep_replicas

HELM_SECONDS = 120
HOOK = "helm.sh/hook"


def revisions(cluster: Cluster, release: str, namespace: str) -> list[Revision]:
    """Return a release's revisions, the oldest first; none when there is no such release.

    Helm keeps each in a Secret and finds them by these labels (its storage driver ``secret``,
    pkg/storage/driver/secrets.go). Asking the API for the labels alone spares a start of Helm,
    which would read, unpack and parse every revision's manifests. Only of a newest one that bears
    ``failed`` is the record itself read: a Helm that is told to end while it runs a hook writes
    the record and the label in turn with what marks it as failed, so that the record may still say
    ``pending-…``, and that is what the next Helm goes by (seen with 4.3.1).
    """
    selector = f"owner=helm,name={release}"
    found = cluster.find("Secret", namespace, selector, metadata_only=True)
    labels = [item["metadata"]["labels"] for item in found]
    # What has no number is not of Helm's making.
    numbered = [each for each in labels if each.get("version", "").isdecimal()]
    unsorted = (Revision(int(each["version"]), each.get("status", "")) for each in numbered)
    ordered = sorted(unsorted, key=lambda revision: revision.number)
    if ordered and ordered[-1].status == "failed":
        ordered[-1] = _recorded(cluster, release, namespace, ordered[-1])
    return ordered


def repair(
    cluster: Cluster,
    helm: Helm,
    release: str,
    namespace: str,
    history: Sequence[Revision],
    *,
    worked: int = 0,
    say: Callable[[str], None],
) -> str:
    """Repair a release that a dead run left pending; only the lock's holder may do that.

    Helm may apply what the records of a release name: a branch's are to be checked before
    (``check_records``).

    Args:
        history: its revisions, the oldest first; the newest one is pending.
        worked: the last revision that worked, or 0: then the last one that was deployed is used.
            Without any the release is deleted.
        say: called with what is waited for.

    Returns:
        What was done, in a few words.

    Raises:
        CommandError: Helm failed.
        DeadlineError: a pod or a claim of the deleted release does not go.
    """
    status = history[-1].status
    deployed = [each.number for each in history if each.status == "deployed"]
    before = worked or max(deployed, default=0)
    if not before:
        delete_release(cluster, release, namespace, say, keep=True)
        _wait_claims_gone(cluster, namespace, say)
        return f"{status}: removed"
    roll_back_release(cluster, helm, release, namespace, before)
    return f"{status}: rolled back to revision {before}"


def _wait_claims_gone(cluster: Cluster, namespace: str, say: Callable[[str], None]) -> None:
    """Wait until the claims of a deleted release are gone.

    Otherwise the next release would use terminating claims, which are gone a moment later.
    """
    for claim in cluster.find("PersistentVolumeClaim", namespace):
        meta = claim["metadata"]
        # Those of a StatefulSet are its own, and deleted a moment after it.
        if is_being_deleted(claim) or owners_of(claim):
            kind = "PersistentVolumeClaim"
            wait_gone(cluster, kind, meta["name"], namespace, uid=meta["uid"], say=say)


def roll_back_release(
    cluster: Cluster, helm: Helm, release: str, namespace: str, revision: int
) -> int:
    """Roll a release back to a revision; return the number of the new revision.

    Helm applies what that revision's record names: a branch's are to be checked before
    (``check_records``).

    Raises:
        CommandError: Helm failed.
    """
    before = revisions(cluster, release, namespace)
    # The revision may have an autoscaler where the newest one has a number.
    keep_replicas(cluster, release, namespace)
    helm.rollback(release, namespace, revision, timeout_seconds=HELM_SECONDS)
    for each in before:
        if each.is_pending:
            # Helm would keep it as pending for ever, although nothing uses it any more.
            cluster.delete("Secret", revision_secret_name(release, each.number), namespace)
    return revisions(cluster, release, namespace)[-1].number


def end_hooks(cluster: Cluster, release: str, namespace: str) -> list[str]:
    """Delete the running hook Jobs of a release; return their names.

    A Job goes on when the Helm that waited for it has ended. This does not wait: a pod that has not
    begun its work is deleted at once, one that works gets its grace period.

    Raises:
        ClusterError: the API refused, or stayed unreachable.
    """
    ended = []
    for job in cluster.find("Job", namespace, f"{INSTANCE}={release}"):
        if HOOK not in annotations_of(job) or has_ended(job):
            continue
        name = job["metadata"]["name"]
        cluster.delete("Job", name, namespace, uid=uid_of(job))
        for pod in cluster.find("Pod", namespace, f"{JOB_NAME}={name}"):
            grace = None if _works(cluster, pod) else 0
            end_pod(cluster, pod, grace_seconds=grace)
        ended.append(name)
    return ended


def delete_failed_pods(cluster: Cluster, release: str, namespace: str) -> None:
    """Delete terminating pods that are not ready, without a grace period.

    Arguments and errors as for ``end_hooks``.
    """
    for pod in cluster.find("Pod", namespace, f"{INSTANCE}={release}"):
        if is_being_deleted(pod) and not has_condition(pod, "Ready"):
            end_pod(cluster, pod, grace_seconds=0)


def _works(cluster: Cluster, pod: Object) -> bool:
    """Return True if a pod is working, not just starting or waiting."""
    where, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    running = [each["name"] for each in main_statuses(pod) if is_running(each)]
    try:
        return any(
            not last_message(cluster.logs(where, name, each, tail=1) or "") for each in running
        )
    except ClusterError:  # its node is unreachable, which must not fail the rollback
        return True


def _recorded(cluster: Cluster, release: str, namespace: str, labelled: Revision) -> Revision:
    """Return a revision with the status in its own record: gzipped JSON, encoded twice."""
    found = cluster.get("Secret", revision_secret_name(release, labelled.number), namespace)
    if found is None:  # it has gone in the meantime
        return labelled
    try:
        record = unpack((found.get("data") or {}).get("release", ""))
    except UnreadableError:  # nor is it for Helm
        return labelled
    info = record.get("info")
    status = info.get("status") if isinstance(info, dict) else None
    return replace(labelled, status=status) if isinstance(status, str) else labelled
