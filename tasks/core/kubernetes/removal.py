"""Decides what prevents the removal of a branch's namespace, and how long to wait for its end."""

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
"""Kinds of objects that others may have created in a branch's namespace."""

CLAIM = "PersistentVolumeClaim"
WORKLOADS = ("CronJob", "Job", "Deployment", "StatefulSet")
"""Kinds that create pods, and would recreate them. Their dependents are deleted with them."""
KINDS_OF_RELEASES = (
    *WORKLOADS,
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "HTTPRoute",
    "ListenerRuleConfiguration",
    "Ingress",
    "NetworkPolicy",
    "Service",
    "ConfigMap",
    "ServiceAccount",
    "LimitRange",
    "ResourceQuota",
    CLAIM,
)
"""Kinds of the objects that the chart makes."""
KINDS_BY_SETTING = frozenset({"ListenerRuleConfiguration"})
"""Those of them that jobs have a right to only where the platform's values say so."""

WORK = frozenset(
    {"PersistentVolumeClaim", "Deployment", "StatefulSet", "ReplicaSet", "Job", "CronJob", "Pod"}
)
"""Kinds that run or store something: never removed, even if every namespace has such an object."""

OWNERS = frozenset({*KINDS_OF_USERS, "Ingress", "HTTPRoute"})
"""Kinds that are removed with the release or checked themselves; so their dependents are not."""

OF_KUBERNETES = ("configmap/kube-root-ca.crt", "serviceaccount/default")
"""Objects that Kubernetes creates in every namespace; they are never mentioned."""

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
"""Objects that common platforms create in every namespace."""

PEOPLE = ("kubectl", "oc", "helm", "k9s", "Mozilla", "node-fetch")
"""Prefixes of the field managers of people's tools; Mozilla is any dashboard."""

AT_ONCE = timedelta(seconds=2)
"""How long after a namespace was created controllers put objects into it. The API's timestamps are
in whole seconds; nobody creates something in a new namespace by hand that fast."""

OTHERS_MIN = 3
"""How many other namespaces must be known before "most of them" means anything."""


@dataclass(frozen=True)
class Contents:
    """The objects in a namespace that are not the branch's.

    Attributes:
        foreign: other people's objects, as ``kind/name``; the namespace is kept for them.
        passing: objects of the cluster's controllers, each with how that is known; they are removed
            with the namespace.
        open: undecided objects, by kind and name, to be looked up in other namespaces.
    """

    foreign: tuple[str, ...] = ()
    passing: Mapping[str, str] = field(default_factory=dict)
    open: tuple[tuple[str, str], ...] = ()


def sort_contents(
    found: Iterable[Object],
    *,
    namespace: Object,
    release: str,
    patterns: Sequence[str],
) -> Contents:
    """Classify the objects in a branch's namespace that are not the branch's.

    Args:
        found: the objects of ``KINDS_OF_USERS``, each with its ``kind``.
        release: the branch's release.
        patterns: globs of ``kind/name`` from the settings.
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
    """Return True if an object belongs to the suite or the release, by its labels."""
    labels = labels_of(item)
    if labels.get(INSTANCE) == release or MANAGED.items() <= labels.items():
        return True
    # Helm's record of a revision, by its labels (pkg/storage/driver/secrets.go).
    record = {"owner": "helm", "name": release}
    return item["kind"] == "Secret" and record.items() <= labels.items()


def _fits(shown: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(shown, pattern) for pattern in patterns)


def _of_account(item: Object) -> bool:
    """Return True if a Secret is a service account's token or pull secret."""
    account = "kubernetes.io/service-account.name"
    return item["kind"] == "Secret" and account in annotations_of(item)


def _came_with(item: Object, namespace: Object) -> bool:
    """Return True if an object was created right after its namespace, not by a person's tool."""
    managers = (each.get("manager", "") for each in item["metadata"].get("managedFields") or ())
    if any(manager.startswith(PEOPLE) for manager in managers):
        return False
    made, began = created_at(item), created_at(namespace)
    return made is not None and began is not None and made - began <= AT_ONCE


def is_in_most_namespaces(there: int, others: int) -> bool:
    """Return True if most other namespaces have an object of the same kind and name.

    Args:
        there: number of other namespaces that have one.
        others: number of other namespaces that are known.
    """
    return others >= OTHERS_MIN and 2 * there > others


# -- waiting --------------------------------------------------------------------------------------

TELL_SECONDS = 3.0
"""After how long a wait reports what it waits for."""
NAMESPACE_SECONDS = 8.0
"""The same for a namespace without a message: its controller waits 5 s before it looks at one
(namespaceDeletionGracePeriod in pkg/controller/namespace)."""
STUCK_SECONDS = 15.0
"""How long a clean-up waits for a deletion without progress; the cluster goes on without it."""
STILL_SECONDS = 5.0
"""How long a deletion must be unchanged to count as one without progress."""
SERVED_SECONDS = 120.0
"""How long it waits for controllers that are known to be slow."""
SERVED = (".k8s.aws", ".kubernetes.io", ".k8s.io", "kubernetes.io/", "-attacher/")
"""Parts of their finalizers' names: a cloud's load balancers and volumes take a while."""


AT_REST = "its objects are being deleted"


def is_worth_reporting(held: str, *, waited: float) -> bool:
    """Return True if a wait has taken long enough to be reported.

    Args:
        held: what it waits for, from ``blocker_of``.
        waited: seconds since it began.
    """
    return waited > (NAMESPACE_SECONDS if held == AT_REST else TELL_SECONDS)


def blocker_of(found: Object) -> str:
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


def has_discovery_failure(found: Object) -> bool:
    """Return True if a namespace cannot go because an API group does not answer.

    Its controller has to list every kind before it lets go: nothing but that group's return, or
    its end, helps.
    """
    return has_condition(found, "NamespaceDeletionDiscoveryFailure")


def is_stuck(held: str, *, waited: float, still: float, unlisted: float = 0) -> bool:
    """Return True if waiting for the end of an object any longer serves nobody.

    Args:
        held: what it waits for, from ``blocker_of``.
        waited: seconds since its deletion was asked for.
        still: seconds since ``held`` has changed.
        unlisted: seconds since ``has_discovery_failure`` has become true, or 0.
    """
    if unlisted > STILL_SECONDS:
        # Other changes do not help. Nor does SERVED tell: most groups' names end in k8s.io.
        return waited > STUCK_SECONDS
    # A namespace whose controller has not said anything yet waits for that.
    served = held == AT_REST or any(part in held for part in SERVED)
    limit = SERVED_SECONDS if served else STUCK_SECONDS
    return waited > limit and still > STILL_SECONDS
