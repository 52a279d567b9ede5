"""What runs of a release, and what only waits."""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.core.errors import ClusterError
from tasks.flows.kubernetes.releases import _works, revisions
from tests.support.fakes_cluster import NAMESPACE, RELEASE, FakeCluster


@pytest.mark.parametrize("state", [{"running": {}}, {"waiting": {}}])
def test_what_runs_on_a_node_that_is_away_is_taken_for_work(state: dict[str, Any]) -> None:
    def logs(*_: object, **__: object) -> str:
        raise ClusterError("the node does not answer", status=500)

    cluster: Any = SimpleNamespace(logs=logs)
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "status": {"containerStatuses": [{"name": "migrate", "state": state}]},
    }
    assert _works(cluster, pod) is ("running" in state)


def packed(record: object) -> str:
    return b64encode(b64encode(gzip.compress(json.dumps(record).encode()))).decode()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"release": packed({"info": {"status": "pending-upgrade"}})}, "pending-upgrade"),
        # What a branch may have written there.
        ({"release": packed({})}, "failed"),
        ({"release": packed({"info": {"status": []}})}, "failed"),
        ({"release": "%"}, "failed"),
        ({}, "failed"),
    ],
)
def test_the_newest_revision_s_own_record_counts_where_it_can_be_read(
    data: dict[str, str], status: str
) -> None:
    cluster = FakeCluster()
    labels = {"owner": "helm", "name": RELEASE}
    name = f"sh.helm.release.v1.{RELEASE}.v1"
    cluster.put("Secret", name, NAMESPACE, labels={**labels, "version": "1", "status": "failed"})
    cluster.objects["Secret", NAMESPACE, name]["data"] = data
    # Neither is one of Helm's.
    cluster.put("Secret", "a", NAMESPACE, labels=labels)
    cluster.put("Secret", "b", NAMESPACE, labels={**labels, "version": "x", "status": "deployed"})
    found = revisions(cluster, RELEASE, NAMESPACE)  # type: ignore[arg-type]
    assert [(each.number, each.status) for each in found] == [(1, status)]
