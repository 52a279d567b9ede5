"""What keeps a branch's namespace, and how long its end is waited for: decisions, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase

from tasks.core.kubernetes.manifests import INSTANCE, MANAGED
from tasks.core.kubernetes.objects import (
    Object,
    annotations_of,
    conditions_of,
    created_at,
    has_condition,
    labels_of,
    owners_of,
    title_of,
)

KINDS_OF_USERS = (
    "ConfigMap",
    "Secret",
    "Service",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "ReplicaSet",
    "Job",
    "CronJob",
    "Pod",
)
"""Kinds that somebody may have put into a branch's namespace beside ours."""

WORK = frozenset(
    {"PersistentVolumeClaim", "Deployment", "StatefulSet", "ReplicaSet", "Job", "CronJob", "Pod"}
)
"""Kinds that run or store something: somebody's work, however many namespaces have one alike."""

OWNERS = frozenset({*KINDS_OF_USERS, "Ingress", "HTTPRoute"})
"""Kinds whose objects go with the release, or are looked at themselves: what they own follows."""

OF_KUBERNETES = ("configmap/kube-root-ca.crt", "serviceaccount/default")
"""What Kubernetes itself puts into every namespace: not worth a word."""

WELL_KNOWN = (
    # OpenShift: https://docs.redhat.com/en/documentation/openshift_container_platform (Security,
    # "service CA"; Authentication, "default project service accounts")
    "configmap/openshift-service-ca.crt",
    "serviceaccount/builder",
    "serviceaccount/deployer",
    "serviceaccount/pipeline",
    # Istio: https://istio.io/latest/docs/ops/configuration/mesh/
    "configmap/istio-ca-root-cert",
    "configmap/istio-ca-crl",
)
"""What widespread platforms put into every namespace."""

PEOPLE = ("kubectl", "oc", "helm", "k9s", "Mozilla", "node-fetch")
"""Beginnings of the field managers of what people work with; Mozilla is any dashboard."""

AT_ONCE = timedelta(seconds=2)
"""How long after a namespace was made its cluster's controllers fill it. The API's timestamps are
whole seconds; nobody finds a new namespace and puts something into it by hand that fast."""

OTHERS_MIN = 3
"""How many other namespaces must be known before "most of them" means anything."""


@dataclass(frozen=True)
class Contents:
    """The objects in a namespace that are not the branch's.

    Attributes:
        foreign: somebody's own, as ``kind/name``: they keep the namespace.
        passing: what the cluster's controllers put there, each with how that is known; it goes
            with the namespace.
        open: neither, as far as the namespace itself shows: kinds and names to be looked for in
            other namespaces.
    """

    foreign: tuple[str, ...] = ()
    passing: Mapping[str, str] = field(default_factory=dict)
    open: tuple[tuple[str, str], ...] = ()


def contents(
    found: Iterable[Object],
    *,
    namespace: Object,
    release: str,
    patterns: Sequence[str],
) -> Contents:
    """Sort what a branch's namespace holds beside the branch's own.

    Args:
        found: the objects of ``KINDS_OF_USERS``, each with its ``kind``.
        release: the branch's release.
        patterns: globs of ``kind/name``, as the settings give them.
    """
    foreign: list[str] = []
    passing: dict[str, str] = {}
    asked: list[tuple[str, str]] = []
    for item in found:
        kind, name = item["kind"], item["metadata"]["name"]
        shown = title_of(item)
        if is_ours(item, release) or _fits(shown, OF_KUBERNETES) or _of_account(item):
            continue
        owner = next(iter(owners_of(item)), None)
        if owner:
            if kind in WORK and owner["kind"] not in OWNERS:
                foreign.append(f"{owner['kind'].lower()}/{owner['name']}")
        elif _fits(shown, patterns):
            passing[shown] = "named by cluster_objects"
        elif _fits(shown, WELL_KNOWN):
            passing[shown] = "which every namespace has"
        elif kind in WORK:
            foreign.append(shown)
        elif _came_with(item, namespace):
            passing[shown] = "which came with the namespace"
        else:
            asked.append((kind, name))
    return Contents(tuple(dict.fromkeys(foreign)), passing, tuple(asked))


def is_ours(item: Object, release: str) -> bool:
    """Return True if an object is the suite's or the release's by what stands on it."""
    labels = labels_of(item)
    if labels.get(INSTANCE) == release or MANAGED.items() <= labels.items():
        return True
    # Helm's record of a revision, by its labels (pkg/storage/driver/secrets.go).
    record = {"owner": "helm", "name": release}
    return item["kind"] == "Secret" and record.items() <= labels.items()


def _fits(shown: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(shown, pattern) for pattern in patterns)


def _of_account(item: Object) -> bool:
    """Return True if a Secret is a service account's token or pull secret: it goes with that."""
    account = "kubernetes.io/service-account.name"
    return item["kind"] == "Secret" and account in annotations_of(item)


def _came_with(item: Object, namespace: Object) -> bool:
    """Return True if an object was made with its namespace, and by no person's tool."""
    managers = (each.get("manager", "") for each in item["metadata"].get("managedFields") or ())
    if any(manager.startswith(PEOPLE) for manager in managers):
        return False
    made, began = created_at(item), created_at(namespace)
    return made is not None and began is not None and made - began <= AT_ONCE


def stands_in_most(there: int, others: int) -> bool:
    """Return True if an object is one of those that every namespace gets.

    Args:
        there: how many of the other namespaces have one of its kind and name.
        others: how many other namespaces are known.
    """
    return others >= OTHERS_MIN and 2 * there > others


# -- waiting --------------------------------------------------------------------------------------

TELL_SECONDS = 3.0
"""After how long a wait says what it waits for."""
NAMESPACE_SECONDS = 8.0
"""After how long that of a namespace does which says nothing itself: its controller lets every one
rest for 5 s before it looks (namespaceDeletionGracePeriod in pkg/controller/namespace)."""
STUCK_SECONDS = 15.0
"""How long a clean-up waits for what does not move; the cluster goes on without it."""
STILL_SECONDS = 5.0
"""How long something must have stood still to count as not moving."""
SERVED_SECONDS = 120.0
"""How long it waits for controllers that are known to take their time."""
SERVED = (".k8s.aws", ".kubernetes.io", ".k8s.io", "kubernetes.io/", "-attacher/")
"""What names their finalizers: load balancers and volumes of a cloud go in their own time."""


AT_REST = "its objects are being deleted"


def is_worth_a_word(held: str, *, waited: float) -> bool:
    """Return True if a wait has taken long enough to be reported.

    Args:
        held: what it waits for, in the words of ``held_by``.
        waited: seconds since it began.
    """
    return waited > (NAMESPACE_SECONDS if held == AT_REST else TELL_SECONDS)


def held_by(found: Object) -> str:
    """Return what an object that is being deleted waits for."""
    # A namespace says which kinds of objects, and which finalizers of theirs, are left.
    messages = [
        condition["message"]
        for condition in conditions_of(found)
        if condition["status"] == "True" and condition.get("message")
    ]
    if found["kind"] == "Namespace":
        return "; ".join(messages) or AT_REST
    if found["kind"] == "Pod":
        node = found.get("spec", {}).get("nodeName")
        return _finalizers(found) or (f"node {node} has not ended it" if node else "no node yet")
    return _finalizers(found) or "; ".join(messages) or "it is being deleted"


def _finalizers(found: Object) -> str:
    names = [
        *(found["metadata"].get("finalizers") or []),
        *(found.get("spec", {}).get("finalizers") or []),
    ]
    return f"finalizer {', '.join(names)}" if names else ""


def cannot_be_listed(found: Object) -> bool:
    """Return True if a namespace cannot go because an API group does not answer.

    Its controller has to list every kind before it lets go: nothing but that group's return, or
    its end, helps.
    """
    return has_condition(found, "NamespaceDeletionDiscoveryFailure")


def is_stuck(held: str, *, waited: float, still: float, unlisted: float = 0) -> bool:
    """Return True if waiting for the end of an object any longer serves nobody.

    Args:
        held: what it waits for, in the words of ``held_by``.
        waited: seconds since its deletion was asked for.
        still: seconds since ``held`` has changed.
        unlisted: seconds since ``cannot_be_listed`` has become true, or 0.
    """
    if unlisted > STILL_SECONDS:
        # Whatever else moves, and whatever the group is called: most are of somebody's k8s.io.
        return waited > STUCK_SECONDS
    # A namespace whose controller has not said anything yet waits for that.
    served = held == AT_REST or any(part in held for part in SERVED)
    limit = SERVED_SECONDS if served else STUCK_SECONDS
    return waited > limit and still > STILL_SECONDS
