"""`inv cleanup` on a cluster: what keeps a namespace, and what an end is not waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tasks.adapters.terminal.console import VERBOSE
from tasks.core.errors import ConflictError
from tasks.core.kubernetes.manifests import MANAGED
from tasks.flows.kubernetes.removal import inspect_namespace
from tests.support.controlplane import ControlPlane
from tests.support.faults import FaultyProxy
from tests.support.kube_cli import ON, PLATFORM, KubeEnv, Object, with_remote
from tests.support.planting import listed, plant

INSTANCE = "app.kubernetes.io/instance"
FINALIZER = "test.mautic-multidev/held"
AFTER_SECONDS = 3.5
"""After so long, nothing that is put into a namespace has come with it."""
DEAD = ("v1beta1.dead.test.mautic-multidev", "v1beta1.external.metrics.k8s.io")


@pytest.fixture(scope="module")
def site(kube_env: KubeEnv) -> KubeEnv:
    with_remote(kube_env.checkout)
    return kube_env


def put(site: KubeEnv, kind: str, namespace: str, name: str, **more: Any) -> None:
    """Put an object into a namespace, as whoever may."""
    api = {"Pod": "v1", "ConfigMap": "v1", "Secret": "v1", "Deployment": "apps/v1"}[kind]
    metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    site.cluster.create({"apiVersion": api, "kind": kind, "metadata": metadata, **more})


def is_gone(site: KubeEnv, name: str) -> bool:
    return site.cluster.get("Namespace", name) is None


def clean(site: KubeEnv, branch: str, **changes: Any) -> CompletedProcess[str]:
    settings = site.settings(**changes)
    return site.run("cleanup", *ON, "--branch", branch, settings=settings)


# -- what a cluster's controllers put there -------------------------------------------------------


@pytest.fixture
def everywhere(site: KubeEnv) -> Iterator[str]:
    """The name of a ConfigMap that all namespaces have."""
    found = [item["metadata"] for item in site.cluster.find("Namespace")]
    # Those of the module before may still be going.
    others = [meta["name"] for meta in found if "deletionTimestamp" not in meta]
    for namespace in others:
        put(site, "ConfigMap", namespace, "mesh-root")
    yield "mesh-root"
    for namespace in others:
        site.cluster.delete("ConfigMap", "mesh-root", namespace)


def test_what_most_namespaces_have_goes_and_is_named(site: KubeEnv, everywhere: str) -> None:
    where = plant(site, "most")
    time.sleep(AFTER_SECONDS)
    put(site, "ConfigMap", where, everywhere)
    with suppress(ConflictError):  # the control plane may be one that has put it there itself
        put(site, "ConfigMap", where, "openshift-service-ca.crt")

    done = clean(site, "most")

    assert done.returncode == 0, done.stderr
    assert is_gone(site, where)
    told = next(line for line in done.stderr.splitlines() if "removed namespace" in line)
    assert "configmap/openshift-service-ca.crt, which every namespace has" in told
    assert f"configmap/{everywhere}, which " in told
    assert "other namespaces have" in told


def test_what_came_with_the_namespace_goes(site: KubeEnv) -> None:
    where = plant(site, "came-with")
    put(site, "Secret", where, "pull-secret")

    done = clean(site, "came-with")

    assert done.returncode == 0, done.stderr
    assert "secret/pull-secret, which came with the namespace" in done.stderr
    assert is_gone(site, where)


def test_what_the_settings_name_goes(site: KubeEnv) -> None:
    where = plant(site, "named")
    time.sleep(AFTER_SECONDS)
    put(site, "ConfigMap", where, "house-policy-7")

    kept = clean(site, "named")
    assert "it holds configmap/house-policy-7 of somebody else" in kept.stderr
    done = clean(site, "named", cluster_objects=["configmap/house-policy-*"])
    assert done.returncode == 0, done.stderr
    assert is_gone(site, where)


def test_a_person_s_own_objects_keep_the_namespace(site: KubeEnv) -> None:
    where = plant(site, "own")
    time.sleep(AFTER_SECONDS)
    for kind in ("ConfigMap", "Secret"):
        put(site, kind, where, "mine")

    done = clean(site, "own")

    assert done.returncode == 0, done.stderr
    kept = f"kept namespace {where}: it holds configmap/mine, secret/mine of somebody else"
    assert kept in done.stderr
    assert site.cluster.get("ConfigMap", "mine", where)
    assert site.cluster.get("Secret", "mine", where)


def test_a_person_s_own_workload_keeps_the_namespace_however_soon_it_came(site: KubeEnv) -> None:
    where = plant(site, "own-pod")
    put(site, "Pod", where, "mine", spec=pod_spec())

    done = clean(site, "own-pod")

    assert f"kept namespace {where}: it holds pod/mine of somebody else" in done.stderr
    assert site.cluster.get("Pod", "mine", where)


@pytest.fixture
def proxy(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane) as between:
        yield between


def test_whoever_may_not_look_everywhere_asks_the_suite_s_own_namespaces(
    site: KubeEnv, proxy: FaultyProxy, tmp_path: Path
) -> None:
    """A CI job may list namespaces, and look into those of its own environment."""
    places = [plant(site, f"neighbour-{number}") for number in range(4)]
    time.sleep(AFTER_SECONDS)
    selector = ",".join(f"{key}={value}" for key, value in MANAGED.items())
    for item in site.cluster.find("Namespace", None, selector):
        if "deletionTimestamp" not in item["metadata"]:
            put(site, "ConfigMap", item["metadata"]["name"], "bundle")
    put(site, "ConfigMap", places[0], "mine")
    proxy.fail(403, only=lambda request, agent: request.startswith("GET /api/v1/configmaps?"))

    narrow = Cluster("test", str(proxy.write_kubeconfig(tmp_path / "kubeconfig")))
    found = inspect_namespace(narrow, site.names("neighbour-0"), ())

    assert proxy.failed == 2
    assert found.foreign == ("configmap/mine",)
    assert "configmap/bundle" in found.passing


# -- what holds an end up -------------------------------------------------------------------------


def pod_spec(**more: Any) -> Object:
    """Return a pod's spec that a hardened namespace takes."""
    secure = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 1,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {"containers": [{"name": "c", "image": "i:1", "securityContext": secure}], **more}


def test_a_pod_whose_node_is_gone_does_not_hold_up_the_end(site: KubeEnv) -> None:
    where = plant(site, "lost-node")
    ours = {"labels": {INSTANCE: site.names("lost-node").release}}
    spec = pod_spec(nodeName="nowhere", terminationGracePeriodSeconds=3600)
    put(site, "Pod", where, "stranded", metadata=ours, spec=spec)

    done = clean(site, "lost-node")

    assert done.returncode == 0, done.stderr
    assert "the cluster forgets them: pod/stranded (node nowhere)" in done.stderr
    assert is_gone(site, where)


def test_a_pod_that_its_controller_makes_anew_goes_with_it(site: KubeEnv) -> None:
    where = plant(site, "anew")
    labels = {INSTANCE: site.names("anew").release}
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod_spec()},
    }
    put(site, "Deployment", where, "web", metadata={"labels": labels}, spec=spec)
    until(lambda: len(site.cluster.find("Pod", where)) == 3)

    done = site.run("cleanup", *ON, "--branch", "anew", env={VERBOSE: "1"})

    assert done.returncode == 0, done.stderr
    assert f"removed release {site.names('anew').release}" in done.stderr
    assert is_gone(site, where)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_finalizer_that_nobody_removes_is_named_with_its_object(site: KubeEnv) -> None:
    where = plant(site, "held")
    managed = {"labels": {"app.kubernetes.io/managed-by": "mautic-multidev"}}
    put(site, "ConfigMap", where, "held", metadata={**managed, "finalizers": [FINALIZER]})

    done = clean(site, "held")

    assert done.returncode == 1
    named = f"configmap/held by {FINALIZER}"
    assert f"  waiting for the end of namespace/{where}: " in done.stderr
    assert named in next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "goes on without this run" in done.stderr
    site.cluster.patch("ConfigMap", "held", where, {"metadata": {"finalizers": None}})
    until(lambda: is_gone(site, where))
    assert "nothing to remove" in clean(site, "held").stderr


@pytest.mark.parametrize("dead", DEAD)
def test_an_api_group_that_does_not_answer_is_named(
    dead: str, site: KubeEnv, control_plane: ControlPlane
) -> None:
    where = plant(site, "dead-group")
    api = Transport("test", str(control_plane.kubeconfig), 30)
    root = "/apis/apiregistration.k8s.io/v1/apiservices"
    version, _, group = dead.partition(".")
    service = {"namespace": "default", "name": "nobody"}
    spec = {"group": group, "version": version, "service": service, "insecureSkipTLSVerify": True}
    body = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": dead},
        "spec": {**spec, "groupPriorityMinimum": 100, "versionPriority": 100},
    }
    api.json(ApiRequest("POST", root, body=body))
    try:
        done = clean(site, "dead-group")
    finally:
        api.json(ApiRequest("DELETE", f"{root}/{dead}"))

    assert done.returncode == 1, done.stderr
    assert group in next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "kubectl get apiservices" in done.stderr
    until(lambda: is_gone(site, where))


# -- the database ---------------------------------------------------------------------------------


def test_the_words_of_the_database_job_are_passed_on_and_its_failure_told(site: KubeEnv) -> None:
    where = plant(site, "unreachable", database="registry.example.com/mautic@sha256:" + "1" * 64)
    names = site.names("unreachable")
    words = "database: waiting [database-refused]: db.example.com:3306: Connection refused"
    decide, log = site.node.decide, site.node.log

    def is_job(pod: Object) -> bool:
        labels = pod["metadata"].get("labels") or {}
        return labels.get(INSTANCE) == f"database-{names.release}"

    site.node.decide = lambda pod: "job-fail" if is_job(pod) else decide(pod)
    site.node.log = lambda pod: words if is_job(pod) else log(pod)
    try:
        done = clean(site, "unreachable")
        row = listed(site)["unreachable"]
    finally:
        site.node.decide, site.node.log = decide, log

    assert done.returncode == 1, done.stderr
    assert done.stderr.count(f"  {words}\n") == 1
    assert f"job/database-drop-{names.release}" in done.stderr
    # The namespace remembers which database there still is.
    assert not is_gone(site, where)
    assert row["state"] != "deploying"
    again = clean(site, "unreachable")
    assert again.returncode == 0, again.stderr
    assert f"removed database {names.database}, and user {names.database_user}" in again.stderr
    assert is_gone(site, where)
    assert not site.cluster.find("Job", PLATFORM, f"{INSTANCE}=database-{names.release}")
