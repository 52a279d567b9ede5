"""What belongs to a branch in a cluster, and how each piece of it goes.

Nothing of it is wanted any more, so nothing of it is ended in its own time: what runs is deleted
with the shortest grace period, and all of it at once. Only then does anything wait: no pod is
waited for that itself waits for something which has gone before it. The namespace is deleted before
its pods have ended: its controller lets it rest for 5 s anyway, and takes a CI job's rights after
that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.kubernetes.helm import Helm
from tasks.adapters.kubernetes.lease import NAME as LEASE
from tasks.adapters.parallel import map_parallel
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.manifests import INSTANCE, MANAGED, PREFIX, SECRET
from tasks.core.kubernetes.objects import Object, is_being_deleted, labels_of, uid_of
from tasks.core.kubernetes.removal import (
    KINDS_OF_USERS,
    Contents,
    is_in_most_namespaces,
    is_ours,
    sort_contents,
)
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.flows.kubernetes.pods import GRACE_SECONDS, end_pod, end_pods
from tasks.flows.target import Removal, Say

HELM_SECONDS = 120
WORKLOADS = ("CronJob", "Job", "Deployment", "StatefulSet")
"""What makes pods, and would make them anew. What they own goes with them."""
ASKED_MAX = 30
"""How many objects are looked for in other namespaces; a branch's has a handful at most."""
NEIGHBOURS_MAX = 10
"""In how many of the environment's own, where a user may not look into all of them."""


@dataclass(frozen=True)
class VolumeClaim:
    """A volume claim of the branch's.

    Attributes:
        volume: the volume it is bound to, or an empty string.
    """

    name: str
    volume: str


@dataclass(frozen=True)
class NamespaceInventory:
    """What a branch's namespace holds.

    Attributes:
        uid: of the namespace itself.
        works: whether anything of the release is there that makes pods, or a pod.
        claims: its volume claims that are the branch's.
        foreign: somebody's own objects, as ``kind/name``: they keep the namespace.
        passing: what the cluster's controllers put there, each with how that is known.
    """

    uid: str
    works: bool
    claims: tuple[VolumeClaim, ...]
    foreign: tuple[str, ...]
    passing: Mapping[str, str]


def inspect_namespace(
    cluster: Cluster, names: Names, patterns: Sequence[str]
) -> NamespaceInventory:
    """Return what a branch's namespace holds; reads only.

    Args:
        patterns: globs of ``kind/name`` that keep no namespace.
    """
    namespace = cluster.get("Namespace", names.namespace)
    if namespace is None:
        return NamespaceInventory("", False, (), (), {})
    found = _all(cluster, names.namespace, KINDS_OF_USERS)
    own = [item for item in found if is_ours(item, names.release)]
    claims = tuple(
        VolumeClaim(item["metadata"]["name"], item["spec"].get("volumeName", ""))
        for item in own
        if item["kind"] == "PersistentVolumeClaim"
    )
    works = any(item["kind"] in {*WORKLOADS, "Pod"} for item in own)
    rest = sort_contents(found, namespace=namespace, release=names.release, patterns=patterns)
    rest = _asked_elsewhere(cluster, names, rest)
    return NamespaceInventory(uid_of(namespace), works, claims, rest.foreign, rest.passing)


def _all(cluster: Cluster, namespace: str, kinds: Iterable[str]) -> list[Object]:
    """Return the objects of several kinds in a namespace: of claims all, else what names them."""

    def find(kind: str) -> list[Object]:
        whole = kind == "PersistentVolumeClaim"
        return cluster.find(kind, namespace, metadata_only=not whole)

    return [item for found in map_parallel(find, kinds) for item in found]


def _asked_elsewhere(cluster: Cluster, names: Names, here: Contents) -> Contents:
    """Return the contents with nothing left open: what most other namespaces have is passing."""
    if not here.open:
        return here
    foreign, passing = list(here.foreign), dict(here.passing)
    counts = _counts(cluster, names, here.open[:ASKED_MAX])
    for kind, name in here.open:
        there, others = counts.get((kind, name), (0, 0))
        shown = f"{kind.lower()}/{name}"
        if is_in_most_namespaces(there, others):
            passing[shown] = f"which {there} of {others} other namespaces have"
        else:
            foreign.append(shown)
    return replace(here, foreign=tuple(foreign), passing=passing, open=())


def _counts(
    cluster: Cluster, names: Names, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], tuple[int, int]]:
    """Return in how many of how many other namespaces each object stands."""
    try:
        others = [
            item
            for item in cluster.find("Namespace", metadata_only=True)
            if item["metadata"]["name"] != names.namespace and not is_being_deleted(item)
        ]
    except ClusterError as error:
        if error.status != 403:
            raise
        return {}
    known = {item["metadata"]["name"] for item in others}
    # Where a user may not look into all namespaces, those of the same environment have to do.
    marks = {**MANAGED, f"{PREFIX}environment": names.environment}
    neighbours = [
        item["metadata"]["name"] for item in others if marks.items() <= labels_of(item).items()
    ][:NEIGHBOURS_MAX]

    def count(each: tuple[str, str]) -> tuple[int, int]:
        kind, name = each
        try:
            found = cluster.find_all(kind, fields=f"metadata.name={name}", metadata_only=True)
        except ClusterError as error:
            if error.status != 403:
                raise
            return _count_by_name(cluster, kind, name, neighbours)
        return len(known & {item["metadata"]["namespace"] for item in found}), len(known)

    return dict(zip(wanted, map_parallel(count, wanted), strict=True))


def _count_by_name(
    cluster: Cluster, kind: str, name: str, namespaces: Sequence[str]
) -> tuple[int, int]:
    there = others = 0
    for namespace in namespaces:
        try:
            there += cluster.get(kind, name, namespace) is not None
        except ClusterError as error:
            if error.status != 403:
                raise
            continue
        others += 1
    return there, others


def removals(
    cluster: Cluster,
    helm: Helm,
    names: Names,
    found: NamespaceInventory,
    *,
    mark: Callable[[], None],
    drop: tuple[Step, Removal] | None,
) -> list[tuple[Step, Removal]]:
    """Return each piece of a branch with the action that removes it, in order.

    The database goes before the namespace, which remembers it. All else in a namespace goes with
    it, without Helm. With somebody's own objects in it, it stays, and everything of ours in it
    goes.

    Args:
        found: what its namespace holds.
        mark: writes down that the environment is being removed.
        drop: what drops the branch's database, or None where there is none on a server.
    """
    todo: list[tuple[Step, Removal]] = []
    # Asked of the API: a clean-up of many environments would start Helm twice for each.
    selector = f"owner=helm,name={names.release}"
    stored = bool(cluster.find("Secret", names.namespace, selector, metadata_only=True))
    has_release = stored or found.works
    if has_release or found.claims:
        stop = partial(_stop, cluster, names, found.claims, mark)
        todo.append((Step("stop", f"pods of {names.release}", "at once, and for good"), stop))
    if drop:
        todo.append(drop)
    release = Step("remove", f"release {names.release}")
    claims: list[tuple[Step, Removal]] = []
    for claim in found.claims:
        step = Step("remove", f"claim {claim.name}", "with its volume, where its class deletes it")
        claims.append((step, partial(_remove_claim, cluster, names.namespace, claim)))
    if not found.foreign:
        if has_release:
            todo.append((release, partial(_end_with_namespace, cluster, names, found.uid)))
        passing = "; ".join(f"{shown}, {how}" for shown, how in found.passing.items())
        with_it = f"with {passing}" if passing else ""
        step = Step("remove", f"namespace {names.namespace}", with_it)
        todo.append((step, partial(_remove_namespace, cluster, names.namespace, found.uid)))
        return [*todo, *claims]
    if has_release:
        uninstall = helm if stored else None
        todo.append((release, partial(_remove_release, cluster, uninstall, names)))
    todo += claims
    for kind, name in (("Secret", SECRET), ("Lease", LEASE)):
        if cluster.get(kind, name, names.namespace):
            step = Step("remove", f"{kind.lower()} {name}")
            todo.append((step, partial(_delete, cluster, kind, name, names.namespace)))
    return todo


def _delete(cluster: Cluster, kind: str, name: str, namespace: str, say: Say) -> None:
    cluster.delete(kind, name, namespace)


def _stop(
    cluster: Cluster,
    names: Names,
    claims: Sequence[VolumeClaim],
    mark: Callable[[], None],
    say: Say,
) -> None:
    """Ask for the end of all that makes pods, of the pods and of the claims; wait for nothing."""
    # A clean-up that is cut off from here on has left no environment that could be deployed to as
    # if it were whole.
    mark()
    where, ours = names.namespace, f"{INSTANCE}={names.release}"
    makers = [
        (kind, item["metadata"]["name"])
        for kind in WORKLOADS
        for item in cluster.find(kind, where, ours, metadata_only=True)
    ]
    map_parallel(lambda each: cluster.delete(*each, where), makers)
    map_parallel(lambda claim: cluster.delete("PersistentVolumeClaim", claim.name, where), claims)
    pods = cluster.find("Pod", where, ours, metadata_only=True)
    map_parallel(lambda pod: end_pod(cluster, pod, grace_seconds=GRACE_SECONDS), pods)


def _remove_release(cluster: Cluster, helm: Helm | None, names: Names, say: Say) -> None:
    """Uninstall a release, where there is one, and wait until nothing of it runs any more."""
    if helm:
        helm.uninstall(names.release, names.namespace, timeout_seconds=HELM_SECONDS)
    end_pods(cluster, names.release, names.namespace, say)


def _end_with_namespace(cluster: Cluster, names: Names, uid: str, say: Say) -> None:
    """Delete the namespace, and wait until nothing of its release runs any more."""
    cluster.delete("Namespace", names.namespace, uid=uid)
    _end_going_pods(cluster, names, say)


def finish(cluster: Cluster, names: Names, uid: str, say: Say) -> None:
    """Wait for the end of a namespace that is being deleted, and of the pods in it.

    Args:
        uid: the namespace's uid.
        say: told what holds it up.

    Raises:
        DeadlineError: naming what holds it up.
    """
    _end_going_pods(cluster, names, say)
    wait_gone(cluster, "Namespace", names.namespace, uid=uid, say=say)


def _end_going_pods(cluster: Cluster, names: Names, say: Say) -> None:
    """End the pods of a namespace that is being deleted, as long as this user may."""
    try:
        end_pods(cluster, names.release, names.namespace, say)
    except ClusterError as error:
        # A CI job's rights go with the namespace, which is waited for next.
        if error.status != 403:
            raise


def _remove_claim(cluster: Cluster, namespace: str, claim: VolumeClaim, say: Say) -> None:
    """Wait until a claim that is being deleted and the volume it brought with it are gone."""
    try:
        wait_gone(cluster, "PersistentVolumeClaim", claim.name, namespace, say=say)
    except ClusterError as error:
        # Gone with its namespace, and a CI job's right to look at it as well.
        if error.status != 403:
            raise
    found = cluster.get("PersistentVolume", claim.volume) if claim.volume else None
    if found and found["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
        wait_gone(cluster, "PersistentVolume", claim.volume, say=say)


def _remove_namespace(cluster: Cluster, name: str, uid: str, say: Say) -> None:
    """Delete a namespace and wait for its end.

    By its uid: another run may make a new one of that name as soon as it is gone.
    """
    cluster.delete("Namespace", name, uid=uid)
    wait_gone(cluster, "Namespace", name, uid=uid, say=say)
