"""How one branch's pods are let reach another's, and that nothing stays open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.errors import ClusterError, RefusedError
from tasks.core.names import Names
from tasks.flows.kubernetes.admitting import admit
from tests.support.fakes import NAMES
from tests.support.fakes_cluster import FakeCluster

MAIN = replace(NAMES, branch="main", namespace="mautic-main", release="main")
PORT = 8099
IN = ("NetworkPolicy", NAMES.namespace, "handover")
OUT = ("NetworkPolicy", MAIN.namespace, f"handover-to-{NAMES.namespace}")


@pytest.fixture
def cluster() -> FakeCluster:
    """A cluster with the policies of both branches' charts."""
    made = FakeCluster()
    for names in (NAMES, MAIN):
        close(made, names)
    return made


def close(cluster: FakeCluster, names: Names) -> None:
    labels = {"app.kubernetes.io/component": "network"}
    cluster.put("NetworkPolicy", f"{names.release}-deny", names.namespace, labels=labels)


def opened(cluster: FakeCluster) -> set[tuple[str, str | None, str]]:
    return {key for key in cluster.objects if "handover" in key[2]}


def web_of(names: Names) -> object:
    labels = {"app.kubernetes.io/instance": names.release, "app.kubernetes.io/component": "web"}
    return {"matchLabels": labels}


def peer(names: Names) -> object:
    where = {"matchLabels": {"kubernetes.io/metadata.name": names.namespace}}
    return {"namespaceSelector": where, "podSelector": web_of(names)}


def test_both_sides_are_opened_to_each_other_at_one_port_and_closed_again(
    cluster: FakeCluster,
) -> None:
    said: list[str] = []
    ports = [{"protocol": "TCP", "port": PORT}]
    # Twice at once: what a run that was killed has left is the next one's.
    with admit(cluster, NAMES, MAIN, PORT, said.append):  # type: ignore[arg-type]
        pass
    with admit(cluster, NAMES, MAIN, PORT, said.append):  # type: ignore[arg-type]
        assert opened(cluster) == {IN, OUT}
        assert cluster.objects[IN]["spec"] == {
            "podSelector": web_of(NAMES),
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": ports, "from": [peer(MAIN)]}],
        }
        assert cluster.objects[OUT]["spec"] == {
            "podSelector": web_of(MAIN),
            "policyTypes": ["Egress"],
            "egress": [{"ports": ports, "to": [peer(NAMES)]}],
        }
        managed = {"app.kubernetes.io/managed-by": "mautic-multidev"}
        assert all(cluster.objects[key]["metadata"]["labels"] == managed for key in (IN, OUT))
    assert opened(cluster) == set()
    assert said == []


def test_where_a_chart_closes_nothing_nothing_is_made() -> None:
    cluster = FakeCluster()
    close(cluster, MAIN)
    with admit(cluster, NAMES, MAIN, PORT, pytest.fail):  # type: ignore[arg-type]
        # One in the other namespace would close everything else there.
        assert opened(cluster) == {OUT}


def test_an_interrupt_leaves_nothing_open(cluster: FakeCluster) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        admit(cluster, NAMES, MAIN, PORT, pytest.fail),  # type: ignore[arg-type]
    ):
        raise KeyboardInterrupt
    assert opened(cluster) == set()


@pytest.mark.parametrize("status", [403, 422])
def test_a_job_that_may_not_is_told_who_may(cluster: FakeCluster, status: int) -> None:
    refused = ClusterError("a NetworkPolicy may open its own namespace", status=status)
    cluster.fails = {f"apply NetworkPolicy {OUT[2]}": [refused]}
    with (
        pytest.raises(RefusedError, match="cannot get the data of main") as caught,
        admit(cluster, NAMES, MAIN, PORT, pytest.fail),  # type: ignore[arg-type]
    ):
        pytest.fail("nothing is open")
    assert "whoever has rights to both" in (caught.value.hint or "")
    assert opened(cluster) == set()


def test_an_api_server_that_fails_is_no_refusal(cluster: FakeCluster) -> None:
    cluster.fails = {f"apply NetworkPolicy {OUT[2]}": [ClusterError("away", status=503)]}
    with (
        pytest.raises(ClusterError, match="away"),
        admit(cluster, NAMES, MAIN, PORT, pytest.fail),  # type: ignore[arg-type]
    ):
        pytest.fail("nothing is open")


def test_what_cannot_be_removed_is_told_and_the_data_is_there_all_the_same(
    cluster: FakeCluster,
) -> None:
    cluster.fails = {f"delete NetworkPolicy {OUT[2]}": [ClusterError("away", status=503)]}
    said: list[str] = []
    with admit(cluster, NAMES, MAIN, PORT, said.append):  # type: ignore[arg-type]
        """The data is handed over."""
    assert said == [f"networkpolicy {OUT[2]} in {MAIN.namespace} was not removed: away"]
    assert opened(cluster) == {OUT}
