"""The removal of namespaces that are not their branches'."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.environment import Owner, State
from tasks.core.errors import RefusedError
from tasks.core.kubernetes.manifests import namespace
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.summary import EnvironmentSummary, misnamed
from tasks.flows.kubernetes.remover import ClusterRemover
from tests.support.fakes import NAMES
from tests.support.fakes_cluster import FakeCluster, FakeHelm, a_cluster_context

REPOSITORY = "https://example.org/a/b"
WHERE = "mautic-feature-x-0123456789"


def occupied(cluster: FakeCluster) -> EnvironmentSummary:
    """Make a namespace that states a branch, a database and a clean-up; return how it is listed."""
    owner = Owner("local", "feature-x-0123456789", "feature/x", REPOSITORY)
    record = ClusterRecord(State.REMOVING, NAMES.url, database="m@sha256:1")
    made = namespace(owner, NAMES, record, "")
    cluster.keep({**made, "metadata": {**made["metadata"], "name": WHERE}})
    stated = {"branch": owner.branch, "slug": owner.slug, "repository": owner.repository}
    return misnamed(WHERE, stated, deployed_by="eve@host", created_at="2026-01-01T00:00:00Z")


def remover(cluster: FakeCluster, root: Path) -> ClusterRemover:
    server = {"host": "db", "admin_secret": "admin"}
    context, _ = a_cluster_context(cluster, FakeHelm(cluster=cluster), root, database=server)
    return ClusterRemover(context)


def test_the_namespace_goes_and_nothing_that_it_states_is_believed(tmp_path: Path) -> None:
    cluster = FakeCluster()
    found = occupied(cluster)
    assert remover(cluster, tmp_path).remove_misnamed(found, print) == 1
    assert cluster.seen == [f"delete Namespace {WHERE}"]
    assert remover(cluster, tmp_path).remove_misnamed(found, print) == 0


def test_what_has_another_owner_by_now_stays(tmp_path: Path) -> None:
    cluster = FakeCluster()
    found = occupied(cluster)
    there = cluster.objects["Namespace", None, WHERE]["metadata"]["annotations"]
    there["mautic-multidev.io/repository"] = "https://example.org/a/another"
    with pytest.raises(RefusedError, match="has changed hands"):
        remover(cluster, tmp_path).remove_misnamed(found, print)
    assert cluster.seen == []
