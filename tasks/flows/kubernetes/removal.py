"""Plans and carries out the removal of a branch's objects in a cluster.

Nothing of the branch is needed any more, so everything that runs is deleted at once, with the
shortest grace period. Only then the run waits: so it never waits for a pod that depends on
something already deleted. The namespace is deleted before its pods have ended: its controller waits
5 s anyway, and then removes a CI job's rights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.deletion import wait_gone
from tasks.adapters.parallel import map_parallel
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.lease import NAME as LEASE
from tasks.core.kubernetes.manifests import INSTANCE, MANAGED, PREFIX, SECRET
from tasks.core.kubernetes.objects import Object, is_being_deleted, labels_of, uid_of
from tasks.core.kubernetes.removal import (
    CLAIM,
    KINDS_OF_USERS,
    WORKLOADS,
    Contents,
    is_in_most_namespaces,
    is_ours,
    sort_contents,
)
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.flows.kubernetes.pods import GRACE_SECONDS, end_pod, end_pods
from tasks.flows.kubernetes.release_objects import delete_release, delete_workloads
from tasks.flows.target import Removal, Say

ASKED_MAX = 30
"""How many objects are looked up in other namespaces; usually there are a few at most."""
NEIGHBOURS_MAX = 10
"""In how many namespaces of the same environment, if the user may not list all namespaces."""


@dataclass(frozen=True)
class VolumeClaim:
    """A PersistentVolumeClaim of the branch.

    Attributes:
        volume: the volume it is bound to, or an empty string.
    """

    name: str
    volume: str


@dataclass(frozen=True)
class NamespaceInventory:
    """The content of a branch's namespace.

    Attributes:
        uid: the namespace's uid.
        works: whether the release has pods, or objects that create them.
        claims: the branch's volume claims.
        foreign: other people's objects, as ``kind/name``; the namespace is kept for them.
        passing: objects of the cluster's controllers, each with how that is known.
    """

    uid: str
    works: bool
    claims: tuple[VolumeClaim, ...]
    foreign: tuple[str, ...]
    passing: Mapping[str, str]


def inspect_namespace(
    cluster: Cluster, names: Names, patterns: Sequence[str]
) -> NamespaceInventory:
    """Return the content of a branch's namespace; reads only.

    Args:
        patterns: globs of ``kind/name`` of objects for which no namespace is kept.
    """
    namespace = cluster.get("Namespace", names.namespace)
    if namespace is None:
        return NamespaceInventory("", False, (), (), {})
    found = _all(cluster, names.namespace, KINDS_OF_USERS)
    own = [item for item in found if is_ours(item, names.release)]
    claims = tuple(
        VolumeClaim(item["metadata"]["name"], item["spec"].get("volumeName", ""))
        for item in own
        if item["kind"] == CLAIM
    )
    works = any(item["kind"] in {*WORKLOADS, "Pod"} for item in own)
    rest = sort_contents(found, namespace=namespace, release=names.release, patterns=patterns)
    rest = _asked_elsewhere(cluster, names, rest)
    return NamespaceInventory(uid_of(namespace), works, claims, rest.foreign, rest.passing)


def _all(cluster: Cluster, namespace: str, kinds: Iterable[str]) -> list[Object]:
    """Return the objects of several kinds in a namespace; except for claims only metadata."""

    def find(kind: str) -> list[Object]:
        whole = kind == CLAIM
        return cluster.find(kind, namespace, metadata_only=not whole)

    return [item for found in map_parallel(find, kinds) for item in found]


def _asked_elsewhere(cluster: Cluster, names: Names, here: Contents) -> Contents:
    """Return the contents with undecided objects decided: those of most namespaces are passing."""
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
    """Return for each object the number of other namespaces that have it, and of all others."""
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
    names: Names,
    found: NamespaceInventory,
    *,
    mark: Callable[[], None],
    drop: tuple[Step, Removal] | None,
) -> list[tuple[Step, Removal]]:
    """Return the steps of a branch's removal with their actions, in order.

    The database is dropped before the namespace, which has its record, is deleted. Everything else
    is deleted with the namespace. If other people's objects are in it, the namespace is kept, and
    only the branch's objects are removed: by their labels, since Helm's record may name others.

    Args:
        found: the content of the namespace.
        mark: records that the environment is being removed.
        drop: drops the branch's database, or None if there is none on a server.
    """
    todo: list[tuple[Step, Removal]] = []
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
        todo.append((step, partial(remove_namespace, cluster, names.namespace, found.uid)))
        return [*todo, *claims]
    if has_release:
        todo.append((release, partial(_remove_release, cluster, names)))
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
    """Delete everything that creates pods, the pods and the claims, without waiting."""
    # If the clean-up is interrupted from here on, a deploy must not take the environment for
    # complete.
    mark()
    where, ours = names.namespace, f"{INSTANCE}={names.release}"
    delete_workloads(cluster, names.release, where)
    map_parallel(lambda claim: cluster.delete(CLAIM, claim.name, where), claims)
    pods = cluster.find("Pod", where, ours, metadata_only=True)
    map_parallel(lambda pod: end_pod(cluster, pod, grace_seconds=GRACE_SECONDS), pods)


def _remove_release(cluster: Cluster, names: Names, say: Say) -> None:
    delete_release(cluster, names.release, names.namespace, say, keep=False)


def _end_with_namespace(cluster: Cluster, names: Names, uid: str, say: Say) -> None:
    """Delete the namespace, and wait until the release's pods are gone."""
    cluster.delete("Namespace", names.namespace, uid=uid)
    _end_going_pods(cluster, names, say)


def finish(cluster: Cluster, names: Names, uid: str, say: Say) -> None:
    """Wait until a namespace that is being deleted, and the pods in it, are gone.

    Args:
        uid: the namespace's uid.
        say: called with what blocks it.

    Raises:
        DeadlineError: it is not gone; the message names what blocks it.
    """
    _end_going_pods(cluster, names, say)
    wait_gone(cluster, "Namespace", names.namespace, uid=uid, say=say)


def _end_going_pods(cluster: Cluster, names: Names, say: Say) -> None:
    """End the pods of a namespace that is being deleted, while this user has the rights."""
    try:
        end_pods(cluster, names.release, names.namespace, say)
    except ClusterError as error:
        # A CI job's rights go with the namespace, which is waited for next.
        if error.status != 403:
            raise


def _remove_claim(cluster: Cluster, namespace: str, claim: VolumeClaim, say: Say) -> None:
    """Wait until a claim that is being deleted and its volume are gone."""
    try:
        wait_gone(cluster, CLAIM, claim.name, namespace, say=say)
    except ClusterError as error:
        # Deleted with its namespace, and so is a CI job's right to read it.
        if error.status != 403:
            raise
    found = cluster.get("PersistentVolume", claim.volume) if claim.volume else None
    if found and found["spec"].get("persistentVolumeReclaimPolicy") == "Delete":
        wait_gone(cluster, "PersistentVolume", claim.volume, say=say)


def remove_namespace(cluster: Cluster, name: str, uid: str, say: Say) -> None:
    """Delete a namespace and wait until it is gone.

    It is identified by its uid: another run may create one of the same name at once.
    """
    cluster.delete("Namespace", name, uid=uid)
    wait_gone(cluster, "Namespace", name, uid=uid, say=say)
