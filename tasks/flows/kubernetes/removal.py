"""What belongs to a branch in a cluster, and how each piece of it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tasks.adapters.cluster import Cluster
from tasks.adapters.gone import POLL_SECONDS, WAIT_SECONDS, held_by, wait_gone
from tasks.adapters.helm import Helm
from tasks.adapters.lease import NAME as LEASE
from tasks.core.errors import DeadlineError
from tasks.core.manifests import MANAGED, SECRET, Object
from tasks.core.naming import Names
from tasks.core.plan import Step
from tasks.flows.kubernetes.mirror import INSTANCE

HELM_SECONDS = 120
KINDS_OF_USERS = (
    "ConfigMap",
    "Secret",
    "Service",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "Job",
    "CronJob",
    "Pod",
)
"""Kinds that somebody may have put into a branch's namespace beside ours."""


@dataclass(frozen=True)
class Found:
    """What a branch's namespace holds.

    Attributes:
        uid: of the namespace itself.
        claims: names of its volume claims that are ours.
        foreign: what is somebody else's, as ``kind/name``.
    """

    uid: str
    claims: tuple[str, ...]
    foreign: tuple[str, ...]


def look(cluster: Cluster, names: Names) -> Found:
    """Return what a branch's namespace holds; reads only."""
    uid = (cluster.get("Namespace", names.namespace) or {}).get("metadata", {}).get("uid", "")
    claims: list[str] = []
    foreign: list[str] = []
    for kind in KINDS_OF_USERS:
        for item in cluster.find(kind, names.namespace):
            name = item["metadata"]["name"]
            if not _is_ours(kind, item, names):
                foreign.append(f"{kind.lower()}/{name}")
            elif kind == "PersistentVolumeClaim":
                claims.append(name)
    return Found(uid, tuple(claims), tuple(foreign))


def _is_ours(kind: str, item: Object, names: Names) -> bool:
    """Say whether an object is the suite's, the release's, or Kubernetes' own."""
    meta = item["metadata"]
    labels = meta.get("labels") or {}
    if labels.get(INSTANCE) == names.release or meta.get("ownerReferences"):
        return True
    if MANAGED.items() <= labels.items():
        return True
    return (
        (kind == "ConfigMap" and meta["name"] == "kube-root-ca.crt")
        or (kind == "ServiceAccount" and meta["name"] == "default")
        or (kind == "Secret" and item.get("type") == "helm.sh/release.v1")
        or (kind == "Secret" and item.get("type") == "kubernetes.io/service-account-token")
    )


def removals(
    cluster: Cluster, helm: Helm, names: Names, found: Found
) -> list[tuple[Step, Callable[[], object]]]:
    """Return each piece of a branch with the action that removes it, in order.

    The namespace goes last: while it is there, an interrupted clean-up is known to be ours. With
    somebody else's objects in it, it stays, and everything of ours in it goes.
    """
    todo: list[tuple[Step, Callable[[], object]]] = []
    # Asked of the API: a clean-up of many environments would start Helm twice for each.
    if cluster.find("Secret", names.namespace, f"owner=helm,name={names.release}"):
        step = Step("remove", f"release {names.release}")
        todo.append((step, partial(_remove_release, cluster, helm, names)))
    for claim in found.claims:
        step = Step("remove", f"claim {claim}", "with its volume, where its class deletes it")
        todo.append((step, partial(_remove_claim, cluster, names.namespace, claim)))
    if not found.foreign:
        step = Step("remove", f"namespace {names.namespace}")
        todo.append((step, partial(remove_namespace, cluster, names.namespace, found.uid)))
        return todo
    # Helm leaves a hook's Job behind: its log is the evidence.
    jobs = cluster.find("Job", names.namespace, f"{INSTANCE}={names.release}")
    hooks = [("Job", job["metadata"]["name"]) for job in jobs]
    for kind, name in (*hooks, ("Secret", SECRET), ("Lease", LEASE)):
        if cluster.get(kind, name, names.namespace):
            step = Step("remove", f"{kind.lower()} {name}")
            todo.append((step, partial(cluster.delete, kind, name, names.namespace)))
    return todo


def _remove_release(cluster: Cluster, helm: Helm, names: Names) -> None:
    """Uninstall a release, and wait until nothing of it runs any more."""
    helm.uninstall(names.release, names.namespace, timeout_seconds=HELM_SECONDS)
    deadline = time.monotonic() + WAIT_SECONDS
    while pods := cluster.find("Pod", names.namespace, f"{INSTANCE}={names.release}"):
        running = [pod for pod in pods if _runs(pod)]
        if not running:
            return
        if time.monotonic() > deadline:
            name, why = running[0]["metadata"]["name"], held_by(running[0])
            raise DeadlineError(
                f"pod/{name} is not gone after {WAIT_SECONDS} s: {why}",
                hint="look at its node; then run the same again: it goes on where this run stopped",
            )
        time.sleep(POLL_SECONDS)


def _runs(pod: Object) -> bool:
    """Say whether a pod still runs; the hook's, which Helm leaves behind, has ended."""
    return pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}


def _remove_claim(cluster: Cluster, namespace: str, name: str) -> None:
    """Delete a claim, and wait until it and the volume it brought with it are gone."""
    claim = cluster.get("PersistentVolumeClaim", name, namespace)
    volume = (claim or {}).get("spec", {}).get("volumeName")
    cluster.delete("PersistentVolumeClaim", name, namespace)
    wait_gone(cluster, "PersistentVolumeClaim", name, namespace)
    found = cluster.get("PersistentVolume", volume) if volume else None
    if found and found["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
        wait_gone(cluster, "PersistentVolume", volume)


def remove_namespace(cluster: Cluster, name: str, uid: str = "") -> None:
    """Delete a namespace and wait for its end.

    Args:
        cluster: the cluster.
        name: the namespace.
        uid: the uid of the one that is meant; without it one that is being deleted already is only
            waited for. Another run may make a new one of that name as soon as it is gone.

    Raises:
        DeadlineError: naming what holds it up.
    """
    if uid:
        cluster.delete("Namespace", name, uid=uid)
    wait_gone(cluster, "Namespace", name, uid=uid)
