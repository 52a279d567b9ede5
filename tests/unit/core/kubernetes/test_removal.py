"""What keeps a namespace at its clean-up, and how long its end is waited for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.core.kubernetes.removal import (
    Contents,
    blocker_of,
    is_in_most_namespaces,
    is_stuck,
    sort_contents,
)

Object = dict[str, Any]

BEGAN = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
RELEASE = "mautic-feature-x"


def made(after_seconds: float) -> str:
    return (BEGAN + timedelta(seconds=after_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def thing(kind: str, name: str, *, after: float = 60, manager: str = "", **meta: Any) -> Object:
    """Return an object that was made some seconds after its namespace."""
    managers = [{"manager": manager}] if manager else []
    metadata = {"name": name, "creationTimestamp": made(after), "managedFields": managers}
    return {"kind": kind, "metadata": {**metadata, **meta}}


def sort(*found: Object, patterns: tuple[str, ...] = ()) -> Contents:
    namespace = thing("Namespace", RELEASE, after=0)
    return sort_contents(found, namespace=namespace, release=RELEASE, patterns=patterns)


def owned(kind: str, name: str) -> Object:
    return {"ownerReferences": [{"kind": kind, "name": name}]}


OURS = (
    thing("ConfigMap", "env", labels={"app.kubernetes.io/instance": RELEASE}),
    thing("Secret", "mautic", labels={"app.kubernetes.io/managed-by": "mautic-multidev"}),
    thing("Secret", f"sh.helm.release.v1.{RELEASE}.v1", labels={"owner": "helm", "name": RELEASE}),
    thing("ConfigMap", "kube-root-ca.crt"),
    thing("ServiceAccount", "default"),
    thing("Secret", "t", annotations={"kubernetes.io/service-account.name": "default"}),
    thing("Pod", "web-1-a", **owned("ReplicaSet", "web-1")),
    thing("ReplicaSet", "web-1", **owned("Deployment", "web")),
    thing("Secret", "tls", **owned("Certificate", "web")),
    thing("Service", "solver", **owned("Ingress", "web")),
)


@pytest.mark.parametrize("item", OURS, ids=lambda item: item["metadata"]["name"])
def test_what_is_the_branch_s_or_kubernetes_own_is_neither(item: Object) -> None:
    assert sort(item) == Contents()


THEIRS = (
    (thing("Deployment", "theirs"), "deployment/theirs"),
    (thing("PersistentVolumeClaim", "data"), "persistentvolumeclaim/data"),
    (thing("Job", "once"), "job/once"),
    # Whatever runs or stores something is somebody's, however soon it came.
    (thing("Pod", "debug", after=0), "pod/debug"),
    (thing("PersistentVolumeClaim", "data", after=0), "persistentvolumeclaim/data"),
    # What makes it is of a kind that is not looked at: a DaemonSet, a custom resource.
    (thing("Pod", "agent-x", **owned("DaemonSet", "agent")), "daemonset/agent"),
    (thing("StatefulSet", "pg-0", **owned("PostgresCluster", "pg")), "postgrescluster/pg"),
)


@pytest.mark.parametrize(("item", "shown"), THEIRS, ids=lambda value: str(value)[:60])
def test_what_somebody_runs_or_stores_keeps_the_namespace(item: Object, shown: str) -> None:
    assert sort(item) == Contents(foreign=(shown,))


def test_several_pods_of_one_owner_are_named_once() -> None:
    pods = [thing("Pod", name, **owned("DaemonSet", "agent")) for name in ("a", "b")]
    assert sort(*pods).foreign == ("daemonset/agent",)


PASSING = (
    (thing("ConfigMap", "openshift-service-ca.crt"), "configmap/openshift-service-ca.crt"),
    (thing("ConfigMap", "istio-ca-root-cert"), "configmap/istio-ca-root-cert"),
    (thing("ServiceAccount", "deployer"), "serviceaccount/deployer"),
    # Kyverno, Rancher, trust-manager: with the namespace, whatever it is called.
    (thing("ConfigMap", "bundle", after=0), "configmap/bundle"),
    (thing("ConfigMap", "bundle", after=2, manager="trust-manager"), "configmap/bundle"),
    (thing("Secret", "pull", after=1, manager="kyverno"), "secret/pull"),
)


@pytest.mark.parametrize(("item", "shown"), PASSING, ids=lambda value: str(value)[:60])
def test_what_controllers_put_into_every_namespace_goes_with_it(item: Object, shown: str) -> None:
    found = sort(item)
    assert list(found.passing) == [shown]
    assert not found.foreign
    assert not found.open


OPEN = (
    thing("ConfigMap", "notes"),
    thing("Secret", "password", after=3, manager="kyverno"),
    thing("Service", "theirs"),
    # A person's tool made it, however soon: a pipeline may.
    thing("ConfigMap", "notes", after=1, manager="kubectl-create"),
    thing("Secret", "sh.helm.release.v1.theirs.v1", labels={"owner": "helm", "name": "theirs"}),
)


@pytest.mark.parametrize("item", OPEN, ids=lambda item: item["metadata"]["name"])
def test_of_the_rest_the_other_namespaces_are_asked(item: Object) -> None:
    assert sort(item) == Contents(open=((item["kind"], item["metadata"]["name"]),))


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("configmap/notes", True),
        ("configmap/n*", True),
        ("*/notes", True),
        ("configmap/note", False),
        ("secret/notes", False),
    ],
)
def test_the_settings_name_what_keeps_no_namespace(pattern: str, fits: bool) -> None:
    found = sort(thing("ConfigMap", "notes"), patterns=(pattern,))
    assert ("configmap/notes" in found.passing) is fits
    assert bool(found.open) is not fits


def test_the_settings_may_name_work_as_well() -> None:
    found = sort(thing("Pod", "sidecar"), patterns=("pod/side*",))
    assert not found.foreign


@pytest.mark.parametrize(
    ("there", "others", "most"),
    [
        (0, 0, False),
        (2, 2, False),  # two are no "most of the cluster"
        (2, 3, True),
        (1, 3, False),
        (5, 10, False),
        (6, 10, True),
        (10, 10, True),
    ],
)
def test_most_namespaces_are_more_than_half_of_enough(there: int, others: int, most: bool) -> None:
    assert is_in_most_namespaces(there, others) is most


# -- waiting --------------------------------------------------------------------------------------


def condition(kind: str, message: str, status: str = "True") -> Object:
    return {"type": kind, "status": status, "message": message}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            {
                "kind": "Namespace",
                "metadata": {},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"conditions": [condition("NamespaceContentRemaining", "a pod is left")]},
            },
            "a pod is left",
        ),
        (
            {"kind": "Namespace", "metadata": {}, "spec": {"finalizers": ["kubernetes"]}},
            "its objects are being deleted",
        ),
        (
            {"kind": "ConfigMap", "metadata": {"finalizers": ["example.com/held"]}},
            "finalizer example.com/held",
        ),
        (
            {"kind": "Pod", "metadata": {}, "spec": {"nodeName": "vm"}},
            "node vm has not ended it",
        ),
        ({"kind": "Pod", "metadata": {}, "spec": {}}, "no node yet"),
    ],
)
def test_a_wait_names_what_holds_it_up(found: Object, words: str) -> None:
    assert blocker_of(found) == words


@pytest.mark.parametrize(
    ("held", "waited", "still", "stuck"),
    [
        ("finalizer example.com/held", 10, 10, False),
        ("finalizer example.com/held", 16, 16, True),
        ("finalizer example.com/held", 60, 1, False),  # it has just changed
        ("finalizer external-attacher/ebs-csi-aws-com", 60, 60, False),
        ("finalizer elbv2.k8s.aws/resources", 60, 60, False),
        ("finalizer service.k8s.aws/resources", 60, 60, False),
        ("finalizer kubernetes.io/pv-protection", 121, 121, True),
        # The namespace controller of a busy cluster has yet to look.
        ("its objects are being deleted", 60, 60, False),
        ("Some content in the namespace has finalizers remaining: a/b in 1", 16, 10, True),
    ],
)
def test_what_does_not_move_is_not_waited_for(
    held: str, waited: float, still: float, stuck: bool
) -> None:
    assert is_stuck(held, waited=waited, still=still) is stuck
