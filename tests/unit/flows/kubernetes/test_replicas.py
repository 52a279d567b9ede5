"""The number of web pods, while it passes from the chart to an autoscaler."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.flows.kubernetes.replicas import keep_replicas
from tests.support.fakes_cluster import NAMESPACE, RELEASE, FakeCluster

WEB = f"{RELEASE}-web"
NUMBER = {"f:spec": {"f:replicas": {}}}


class Applying(FakeCluster):
    """Notes what is applied."""

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        meta = manifest["metadata"]
        self.note(f"apply {manifest['kind']} {meta['name']} {manifest['spec']}")
        return manifest


def kept(replicas: int | None, *managers: dict[str, Any]) -> list[str]:
    cluster: Any = Applying()
    if replicas is not None:
        cluster.put("Deployment", WEB, NAMESPACE, managedFields=list(managers))
        cluster.objects["Deployment", NAMESPACE, WEB]["spec"] = {"replicas": replicas}
    keep_replicas(cluster, RELEASE, NAMESPACE)
    return list(cluster.seen)


def test_a_number_of_helm_s_becomes_the_suite_s_as_well() -> None:
    helm = {"manager": "helm", "operation": "Apply", "fieldsV1": NUMBER}
    assert kept(3, helm) == [f"apply Deployment {WEB} {{'replicas': 3}}"]


@pytest.mark.parametrize(
    "manager",
    [
        {"manager": "kube-controller-manager", "subresource": "scale", "fieldsV1": NUMBER},
        {"manager": "helm", "fieldsV1": {"f:spec": {"f:template": {}}}},
        {"manager": "helm", "fieldsV1": {"f:metadata": {}}},
    ],
)
def test_a_number_of_somebody_else_s_is_left_to_them(manager: dict[str, Any]) -> None:
    assert kept(3, manager) == []


def test_what_sleeps_or_is_not_there_is_left_to_the_chart() -> None:
    assert kept(0, {"manager": "helm", "fieldsV1": NUMBER}) == []
    assert kept(None) == []
