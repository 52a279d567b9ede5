"""What is asked of a cluster before a deploy, what is refused, and who would have to sleep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.environment import State
from tasks.core.errors import AwsError, ClusterError, RefusedError
from tasks.core.kubernetes.manifests import COMPONENT
from tasks.core.plan import Step
from tasks.core.sleep import Pinned, Rest
from tasks.core.summary import EnvironmentSummary
from tasks.flows.kubernetes.capacity import check_capacity
from tasks.flows.kubernetes.inspector import ClusterInspector
from tests.support.fakes import NAMES
from tests.support.fakes_cluster import NAMESPACE, FakeCluster, FakeHelm, a_cluster_context

SERVER: dict[str, Any] = {"host": "db.example.org"}
EKS: dict[str, Any] = {"cluster": {"kind": "eks", "name": "it"}}


def a_template(cpu: str = "500m", memory: str = "1Gi") -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": memory}}
    fpm = {"name": "fpm", "args": ["web"], "resources": resources}
    return {
        "metadata": {"labels": {COMPONENT: "web", "app": "web"}},
        "spec": {"containers": [fpm]},
    }


def a_workload(template: dict[str, Any]) -> dict[str, Any]:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


WEB = a_workload(a_template())
CLAIM = {
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "media"},
    "spec": {"storageClassName": "efs", "resources": {"requests": {"storage": "2Gi"}}},
}
ROUTE = {"kind": "HTTPRoute", "metadata": {"name": "site"}, "spec": {"rules": [{}]}}
QUOTA = {
    "kind": "ResourceQuota",
    "metadata": {"name": "own", "namespace": NAMESPACE},
    "spec": {"hard": {"pods": "0"}},
}


def a_pod(cluster: FakeCluster, namespace: str, cpu: str, answer: str = "") -> None:
    whole = a_template(cpu)
    said = {"annotations": {"answer": answer}} if answer else {}
    cluster.put("Pod", "web-1", namespace, labels=whole["metadata"]["labels"], **said)
    running = {"name": "fpm", "state": {"running": {}}, "ready": True}
    cluster.objects["Pod", namespace, "web-1"] |= {
        "spec": {**whole["spec"], "nodeName": "node-1"},
        "status": {"phase": "Running", "containerStatuses": [running]},
    }


@pytest.fixture
def cluster() -> FakeCluster:
    """A cluster of one node with 2 processors and 8 GiB."""
    made = FakeCluster()
    made.put("Node", "node-1")
    allocatable = {"cpu": "2", "memory": "8Gi", "pods": "20"}
    made.objects["Node", None, "node-1"] |= {"spec": {}, "status": {"allocatable": allocatable}}
    return made


def check(there: FakeCluster, *manifests: dict[str, Any], points: Any = None, **own: Any) -> Any:
    context, _ = a_cluster_context(there, FakeHelm(), Path(), **own)
    return check_capacity(context, NAMES, manifests, access_points=points)


def refused(there: FakeCluster, *manifests: dict[str, Any], **own: Any) -> RefusedError:
    with pytest.raises(RefusedError, match=f"{NAMES.branch} does not fit: ") as caught:
        check(there, *manifests, **own)
    assert caught.value.exit_code == 3
    assert "--no-capacity-check" in str(caught.value.hint)
    assert there.seen == []
    return caught.value


def a_summary(branch: str, used_at: str, state: State = State.RUNNING, **rest: Any) -> Any:
    texts: dict[str, Any] = dict.fromkeys(
        ("slug", "repository", "url", "tag", "commit", "owner", "created_at", "expires_at"), ""
    )
    return EnvironmentSummary(
        branch=branch,
        state=state,
        deployed_at="2026-01-01",
        namespace=f"mautic-{branch}",
        rest=Rest(used_at=used_at, **rest),
        **texts,
    )


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, cluster: FakeCluster) -> list[EnvironmentSummary]:
    """Four awake environments that fill the node, and what `inv list` says of them."""
    found = [a_summary(name, f"2026-01-0{day}") for day, name in enumerate("abcd", 1)]
    for each in found:
        a_pod(cluster, each.namespace, "500m")
    monkeypatch.setattr(ClusterInspector, "list", lambda _: found)
    return found


def test_what_fits_is_told_with_what_was_looked_at(cluster: FakeCluster) -> None:
    assert check(cluster, WEB) == Step("fit", "1 pod", "1 node")
    assert cluster.asked == [
        f"get Namespace {NAMESPACE}",
        "find all Pod",
        "find all Node",
    ]


def test_who_was_used_the_longest_ago_would_have_to_sleep(
    cluster: FakeCluster, fleet: list[EnvironmentSummary]
) -> None:
    error = refused(cluster, WEB)
    assert error.message == (
        f"{NAMES.branch} does not fit: 1 of 1 pods find no node: web requests 0.5 processors and "
        "1.0 GiB, and the freest of 1 node has 0 processors and 4.0 GiB left"
    )
    assert error.hint == (
        "--no-capacity-check goes on all the same; "
        "it would fit if a slept: ./inv sleep --env local --branch a"
    )


def test_pinned_ones_busy_ones_and_oneself_are_not_asked_to_sleep(
    cluster: FakeCluster, fleet: list[EnvironmentSummary]
) -> None:
    fleet[0] = a_summary("a", "2026-01-01", pin=Pinned("2026-01-01", "ada"))
    fleet[1] = a_summary("b", "2026-01-02", State.CHANGING)
    fleet[2] = replace(a_summary("c", "2026-01-03"), branch="c d; rm")
    hint = str(refused(cluster, WEB).hint)
    told = "it would fit if c d; rm slept: ./inv sleep --env local --branch 'c d; rm'"
    assert hint.endswith(told)


def test_when_sleep_is_no_help_that_is_told(
    cluster: FakeCluster, fleet: list[EnvironmentSummary]
) -> None:
    huge = a_workload(a_template("3"))
    assert "even if all 4 slept that may" in str(refused(cluster, huge).hint)
    fleet.clear()
    assert "nobody is awake who could sleep" in str(refused(cluster, huge).hint)


def test_a_redeploy_needs_one_pod_beside_the_old_one(cluster: FakeCluster) -> None:
    cluster.put("Namespace", NAMESPACE)
    a_pod(cluster, NAMESPACE, "1600m")
    assert "1 of 1 pods find no node" in refused(cluster, WEB).message


def test_an_autoscaler_makes_nodes_no_matter(
    cluster: FakeCluster, fleet: list[EnvironmentSummary]
) -> None:
    assert check(cluster, WEB, capacity={"autoscaler": True}) is None
    assert "find all Node" not in cluster.asked


@pytest.mark.parametrize("kind", ["Node", "Pod"])
def test_what_one_may_not_look_at_holds_nothing_up_and_is_named(
    cluster: FakeCluster, fleet: list[EnvironmentSummary], kind: str
) -> None:
    cluster.forbidden = [f"list {kind}"]
    roomy = {**QUOTA, "spec": {"hard": {"pods": "9"}}}
    assert check(cluster, WEB, roomy) == Step("fit", "1 pod", "quota; not known: nodes")


def test_an_api_that_fails_is_told(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise ClusterError("the API is away", status=500)

    monkeypatch.setattr(cluster, "find_all", away)
    with pytest.raises(ClusterError, match="away"):
        check(cluster, WEB)


def test_the_quota_is_the_namespaces_own_or_the_one_that_comes(cluster: FakeCluster) -> None:
    assert "own allows 0 of pods" in refused(cluster, WEB, QUOTA).message
    cluster.put("Namespace", NAMESPACE)
    cluster.keep({**QUOTA, "spec": {"hard": {"pods": "5"}}, "status": {"used": {"pods": "5"}}})
    error = refused(cluster, WEB)
    assert "the quota own allows 5 of pods, 5 of it used, and 1 more is needed" in error.message
    assert "quota.hard" in str(error.hint)


def routes(cluster: FakeCluster, count: int) -> None:
    for number in range(count):
        cluster.put("HTTPRoute", "site", f"mautic-{number}")
        cluster.objects["HTTPRoute", f"mautic-{number}", "site"]["spec"] = ROUTE["spec"]


def test_a_load_balancer_on_aws_has_a_hundred_rules(cluster: FakeCluster) -> None:
    routes(cluster, 99)
    assert "the load balancer's rules" in check(cluster, WEB, ROUTE, **EKS).reason
    routes(cluster, 100)
    told = "the load balancer has 100 of 100 rules, and 1 more are needed"
    assert told in refused(cluster, WEB, ROUTE, **EKS).message
    assert check(cluster, WEB, ROUTE, **EKS, capacity={"rules": 200})
    # Elsewhere nobody counts, and a release without a route needs none.
    assert check(cluster, WEB, ROUTE) == Step("fit", "1 pod", "1 node")
    assert check(cluster, WEB, **EKS) == Step("fit", "1 pod", "1 node")


def test_a_branch_that_has_its_route_needs_no_other(cluster: FakeCluster) -> None:
    routes(cluster, 99)
    cluster.put("Namespace", NAMESPACE)
    cluster.put("HTTPRoute", "site", NAMESPACE)
    cluster.objects["HTTPRoute", NAMESPACE, "site"]["spec"] = ROUTE["spec"]
    assert check(cluster, WEB, ROUTE, **EKS) == Step("fit", "1 pod", "1 node")


def test_access_points_are_those_of_the_classes_file_system(cluster: FakeCluster) -> None:
    cluster.put("StorageClass", "efs")
    parameters = {"provisioningMode": "efs-ap", "fileSystemId": "fs-1"}
    cluster.objects["StorageClass", None, "efs"]["parameters"] = parameters
    few = {"access_points": 1000}
    assert (
        "access points" in check(cluster, WEB, CLAIM, points={"fs-1": 999}.get, capacity=few).reason
    )
    error = refused(cluster, WEB, CLAIM, points={"fs-1": 1000}.get, capacity=few)
    told = "the file system fs-1 has 1000 of 1000 access points, and 1 more are needed"
    assert told in error.message

    def denied(_: str) -> int:
        raise AwsError("denied", code="AccessDenied")

    assert "not known: access points" in check(cluster, WEB, CLAIM, points=denied).reason
    cluster.objects["StorageClass", None, "efs"]["parameters"] = {}
    assert check(cluster, WEB, CLAIM, points=denied) == Step("fit", "1 pod", "1 node")


@pytest.mark.parametrize(
    ("used", "told"),
    [
        (90, "90 of 100 connections"),
        (91, "the database server has 91 of 100 connections, and 10 more may be needed"),
    ],
)
def test_a_colleague_is_asked_for_the_servers_connections(
    cluster: FakeCluster, fleet: list[EnvironmentSummary], used: int, told: str
) -> None:
    node = cluster.objects["Node", None, "node-1"]["status"]["allocatable"]
    node["cpu"] = "8"
    for each in fleet:
        a_pod(cluster, each.namespace, "500m", answer=f'{{"most": 100, "used": {used}}}')
    if used == 90:
        assert told in check(cluster, WEB, database=SERVER).reason
    else:
        error = refused(cluster, WEB, database=SERVER)
        assert told in error.message
        assert "it would fit if a slept" in str(error.hint)
    assert "run mautic database connections in mautic-a" in cluster.asked


@pytest.mark.parametrize("answer", ["", "nonsense"])
def test_an_image_that_does_not_know_the_question_holds_nothing_up(
    cluster: FakeCluster, answer: str
) -> None:
    cluster.put("Namespace", NAMESPACE)
    a_pod(cluster, NAMESPACE, "500m", answer=answer)
    found = check(cluster, WEB, database=SERVER)
    assert found.reason == "1 node; not known: the database server's connections"
