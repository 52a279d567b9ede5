"""What belongs to a branch in a cluster, and how each piece of it goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tasks.adapters.cluster import Cluster
from tasks.adapters.helm import Helm
from tasks.adapters.lease import NAME as LEASE
from tasks.core.errors import DeadlineError
from tasks.core.manifests import MANAGED, SECRET, Object
from tasks.core.naming import Names
from tasks.core.plan import Step
from tasks.flows.kubernetes.mirror import INSTANCE

HELM_SECONDS = 120
WAIT_SECONDS = 300
POLL_SECONDS = 0.5
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
        claims: names of its volume claims that are ours.
        foreign: what is somebody else's, as ``kind/name``.
    """

    claims: tuple[str, ...]
    foreign: tuple[str, ...]


def look(cluster: Cluster, names: Names) -> Found:
    """Return what a branch's namespace holds; reads only."""
    claims: list[str] = []
    foreign: list[str] = []
    for kind in KINDS_OF_USERS:
        for item in cluster.find(kind, names.namespace):
            name = item["metadata"]["name"]
            if not _is_ours(kind, item, names):
                foreign.append(f"{kind.lower()}/{name}")
            elif kind == "PersistentVolumeClaim":
                claims.append(name)
    return Found(tuple(claims), tuple(foreign))


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
        todo.append((step, partial(remove_namespace, cluster, names.namespace)))
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
            name, why = running[0]["metadata"]["name"], _held_by(running[0])
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
    _wait_gone(cluster, "PersistentVolumeClaim", name, namespace)
    found = cluster.get("PersistentVolume", volume) if volume else None
    if found and found["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
        _wait_gone(cluster, "PersistentVolume", volume, None)


def remove_namespace(cluster: Cluster, name: str) -> None:
    """Delete a namespace and wait for its end.

    Raises:
        DeadlineError: naming what holds it up.
    """
    cluster.delete("Namespace", name)
    _wait_gone(cluster, "Namespace", name, None)


def _wait_gone(cluster: Cluster, kind: str, name: str, namespace: str | None) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while found := cluster.get(kind, name, namespace):
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"{kind.lower()}/{name} is not gone after {WAIT_SECONDS} s: {_held_by(found)}",
                hint="run the same again: it goes on where this run stopped",
            )
        time.sleep(POLL_SECONDS)


def _held_by(found: Object) -> str:
    """Return what an object that is being deleted waits for."""
    finalizers = [
        *(found["metadata"].get("finalizers") or []),
        *(found.get("spec", {}).get("finalizers") or []),
    ]
    # A namespace says which objects, and which finalizers of theirs, are left.
    messages = [
        condition["message"]
        for condition in found.get("status", {}).get("conditions", [])
        if condition["status"] == "True" and condition.get("message")
    ]
    return "; ".join(messages) or f"finalizers {', '.join(finalizers) or 'none'}"
