"""Quiescing workers and scheduled commands, on a real control plane with a scripted node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import DeadlineError
from tasks.core.kubernetes.manifests import COMPONENT
from tasks.core.names import Names
from tasks.flows.kubernetes import quiesce as quiescing
from tasks.flows.kubernetes.quiesce import quiesce
from tests.support.releases import RELEASE, Object, deployment, job

pytestmark = pytest.mark.usefixtures("node")


def labelled(manifest: Object, component: str, **which: str) -> Object:
    """Give a workload and its pods the labels that the chart gives them."""
    labels = {COMPONENT: component}
    labels |= {f"mautic-multidev.io/{key}": value for key, value in which.items()}
    manifest["metadata"]["labels"] |= labels
    manifest["spec"]["template"]["metadata"]["labels"] |= labels
    return manifest


def names_in(namespace: str) -> Names:
    return Names("b", "e", "b", namespace, "h", "http://h", RELEASE, "d", "u")


def apply(cluster: Cluster, namespace: str, *manifests: Object) -> None:
    # A pod cannot be made before its namespace's own account.
    until(lambda: cluster.get("ServiceAccount", "default", namespace))
    for each in manifests:
        cluster.apply({**each, "metadata": {**each["metadata"], "namespace": namespace}})


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def states(cluster: Cluster, namespace: str) -> list[str]:
    """Return what the containers of the namespace's pods are: running, waiting, terminated."""
    return [
        state
        for pod in cluster.find("Pod", namespace)
        for status in pod.get("status", {}).get("containerStatuses", [])
        for state in status["state"]
    ]


STUCK: dict[str, Object] = {
    "its image never comes": labelled(
        job("cron-import-1", fate="image-missing"), "cron", cron="import"
    ),
    "its start never ends": labelled(
        job(
            "cron-import-2",
            fate="wait=init-failure",
            initContainers=[{"name": "wait", "image": "registry.example.com/mautic:1"}],
        ),
        "cron",
        cron="import",
    ),
    "no node takes it": labelled(
        job("cron-import-3", nodeSelector={"there": "is-none"}), "cron", cron="import"
    ),
}


@pytest.mark.parametrize("why", STUCK)
def test_a_run_that_has_not_begun_is_taken_away(cluster: Cluster, namespace: str, why: str) -> None:
    """It may itself be waiting for the migration, for ever."""
    apply(cluster, namespace, STUCK[why])
    until(lambda: cluster.find("Pod", namespace))
    told: list[str] = []

    quiesce(cluster, names_in(namespace), told.append)

    assert told == []
    until(lambda: not cluster.find("Job", namespace) and not cluster.find("Pod", namespace))


def test_a_command_that_runs_is_waited_for_by_name(cluster: Cluster, namespace: str) -> None:
    running = labelled(job("cron-import", fate="job-slow:3"), "cron", cron="import")
    other = labelled(job("migrate", fate="job-slow:60"), "migrate")
    apply(cluster, namespace, running, other)
    until(lambda: states(cluster, namespace) == ["running", "running"])
    (pod,) = cluster.find("Pod", namespace, f"{COMPONENT}=cron")
    told: list[str] = []

    quiesce(cluster, names_in(namespace), told.append)

    assert told == [f"waiting for pod/{pod['metadata']['name']} (cron import)"]
    assert sorted(states(cluster, namespace)) == ["running", "terminated"]
    assert len(cluster.find("Job", namespace)) == 2


def test_a_command_that_does_not_end_is_named(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(cluster, namespace, labelled(job("cron-import", fate="job-slow:60"), "cron", cron="x"))
    until(lambda: states(cluster, namespace) == ["running"])
    monkeypatch.setattr(quiescing, "QUIESCE_SECONDS", 1)

    with pytest.raises(DeadlineError, match=r"pod/cron-import-\S+ \(cron x\) in \S+ did not end"):
        quiesce(cluster, names_in(namespace), lambda _: None)


def test_workers_and_the_one_pod_of_crons_are_stopped_and_web_is_not(
    cluster: Cluster, namespace: str
) -> None:
    parts = {
        "web": labelled(deployment("web"), "web"),
        "worker-email": labelled(deployment("worker-email"), "worker", worker="email"),
        # It never came up: there is nothing to wait for.
        "worker-hit": labelled(deployment("worker-hit", fate="image-missing"), "worker"),
        "cron": labelled(deployment("cron"), "cron", cron="all"),
    }
    apply(cluster, namespace, *parts.values())
    until(lambda: sorted(states(cluster, namespace)) == [*["running"] * 3, "waiting"])

    quiesce(cluster, names_in(namespace), lambda _: None)

    replicas = {
        item["metadata"]["name"]: item["spec"]["replicas"]
        for item in cluster.find("Deployment", namespace)
    }
    assert replicas == {"web": 1, "worker-email": 0, "worker-hit": 0, "cron": 0}
    pods = cluster.find("Pod", namespace, f"{COMPONENT} in (worker,cron)")
    assert not [pod for pod in pods if "running" in str(pod["status"]["containerStatuses"])]
