"""Whether a release fits: as the scheduler, a quota and a load balancer reckon."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.cost import GIB, Requests
from tasks.core.kubernetes.capacity import (
    Connections,
    Needs,
    NodeRoom,
    Placing,
    Present,
    connections_fault,
    fewest_sleepers,
    needs_of,
    node_rooms,
    nodes_fault,
    placing,
    quota_fault,
    rules_fault,
    unplaced,
)
from tasks.core.kubernetes.manifests import COMPONENT

MIB = 1 << 20


def a_node(name: str = "one", cpu: str = "2", memory: str = "4Gi", **spec: Any) -> dict[str, Any]:
    allocatable = {"cpu": cpu, "memory": memory, "pods": "10"}
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": allocatable}}


def a_container(cpu: str, memory: str, **more: Any) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}


def a_pod(
    namespace: str, cpu: str, memory: str, *, node: str = "one", phase: str = "Running"
) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace, "labels": {"app": "web"}},
        "spec": {"nodeName": node, "containers": [a_container(cpu, memory)]},
        "status": {"phase": phase},
    }


def a_workload(kind: str = "Deployment", name: str = "web", **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {COMPONENT: name, "app": name}},
        "spec": {"containers": [a_container("500m", "1Gi")]},
    }
    selector = {"matchLabels": {"app": name}}
    whole = {"selector": selector, "template": template, **spec}
    return {"kind": kind, "metadata": {"name": name}, "spec": whole}


def pods(*sizes: tuple[int, int]) -> list[Placing]:
    """Return pods of so many thousandths of a processor and MiB."""
    return [Placing("web", Requests(cpu, memory * MIB)) for cpu, memory in sizes]


# -- needs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "running", "count"),
    [
        (a_workload(), 0, 1),
        (a_workload(replicas=3), 0, 3),
        (a_workload(replicas=0), 0, 0),
        # Beside the one that it replaces.
        (a_workload(), 1, 1),
        (a_workload(replicas=3), 3, 1),
        (a_workload(replicas=5), 3, 2),
        (a_workload(strategy={"type": "Recreate"}), 1, 0),
        (a_workload("StatefulSet"), 1, 0),
        (a_workload("Job"), 1, 1),
        (a_workload("CronJob"), 0, 0),
    ],
)
def test_a_rollout_needs_what_is_new_and_what_runs_beside_the_old(
    workload: dict[str, Any], running: int, count: int
) -> None:
    there = [a_pod("own", "1", "1Gi") for _ in range(running)]
    there.append(a_pod("own", "1", "1Gi", phase="Succeeded"))
    assert len(needs_of([workload], Present(there)).pods) == count


def test_what_ends_before_is_no_room_that_is_needed_twice() -> None:
    there = [a_pod("own", "1", "1Gi")]
    assert len(needs_of([a_workload()], Present(there, ending=("worker",))).pods) == 1
    assert needs_of([a_workload()], Present(there, ending=("web",))).pods == ()
    assert len(needs_of([a_workload(replicas=3)], Present(there, ending=("web",))).pods) == 2


def test_only_claims_and_routes_that_are_not_there_are_needed() -> None:
    claim = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "media"},
        "spec": {"storageClassName": "efs", "resources": {"requests": {"storage": "2Gi"}}},
    }
    route = {"kind": "HTTPRoute", "metadata": {"name": "site"}, "spec": {"rules": [{}, {}]}}
    data = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    mysql = a_workload("StatefulSet", "mysql", volumeClaimTemplates=[data])
    whole = [claim, route, mysql]
    fresh = needs_of(whole, Present())
    assert fresh.claims == (("efs", 2 * GIB), ("", GIB))
    assert fresh.rules == 2
    stored = {"kind": "PersistentVolumeClaim", "metadata": {"name": "data-mysql-0"}}
    again = needs_of(whole, Present((), [claim, route, stored]))
    assert (again.claims, again.rules) == ((), 0)


@pytest.mark.parametrize(
    ("container", "count"),
    [
        ({"args": ["web"], "env": [{"name": "FPM_MAX_CHILDREN", "value": "4"}]}, 4),
        ({"args": ["web"]}, 10),
        ({"args": ["worker", "email"]}, 1),
        ({"args": ["cron"]}, 1),
        ({"args": ["migrate"]}, 1),
        ({"args": ["wait"]}, 0),
        ({}, 0),
    ],
)
def test_each_process_of_mautic_may_hold_a_connection(
    container: dict[str, Any], count: int
) -> None:
    assert placing({"spec": {"containers": [container]}}).connections == count


# -- nodes ----------------------------------------------------------------------------------------


def test_what_is_left_of_a_node_is_what_no_living_pod_has_requested() -> None:
    there = [
        a_pod("a", "500m", "1Gi"),
        a_pod("b", "500m", "1Gi"),
        a_pod("b", "100m", "512Mi"),
        a_pod("c", "1", "1Gi", phase="Succeeded"),
        a_pod("d", "1", "1Gi", node=""),
        a_pod("e", "1", "1Gi", node="another"),
    ]
    (room,) = node_rooms([a_node()], there)
    assert (room.free, room.pods) == (Requests(900, 3 * GIB // 2), 7)
    freed = room.without({"b", "nobody"})
    assert (freed.free, freed.pods) == (Requests(1500, 3 * GIB), 9)


def test_nodes_that_take_nothing_are_left_out() -> None:
    unready = a_node("unready")
    unready["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    ready = a_node("ready")
    ready["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    nodes = [a_node("drained", unschedulable=True), unready, ready]
    assert [room.name for room in node_rooms(nodes, [])] == ["ready"]


TAINT = {"key": "for", "value": "batch", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("taint", "toleration", "fits"),
    [
        (TAINT, None, False),
        ({**TAINT, "effect": "PreferNoSchedule"}, None, True),
        (TAINT, {"key": "for", "value": "batch"}, True),
        (TAINT, {"key": "for", "value": "web"}, False),
        (TAINT, {"key": "for", "operator": "Exists"}, True),
        (TAINT, {"operator": "Exists"}, True),
        (TAINT, {"key": "for", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_a_taint_keeps_out_who_does_not_tolerate_it(
    taint: dict[str, str], toleration: dict[str, str] | None, fits: bool
) -> None:
    rooms = node_rooms([a_node(taints=[taint])], [])
    pod = Placing("web", Requests(1, 1), tolerations=[toleration] if toleration else [])
    assert (unplaced([pod], rooms) == []) is fits


def test_a_pod_that_chooses_its_node_fits_there_alone() -> None:
    chosen = a_node("chosen")
    chosen["metadata"]["labels"] = {"disk": "fast"}
    pod = Placing("web", Requests(1, 1), selector={"disk": "fast"})
    assert unplaced([pod], node_rooms([a_node("other"), chosen], [])) == []
    assert unplaced([pod], node_rooms([a_node("other")], [])) == [pod]


def test_a_pod_must_fit_one_node_whatever_all_have_together() -> None:
    rooms = node_rooms([a_node("one", "1", "1Gi"), a_node("two", "1", "1Gi")], [])
    fault = nodes_fault(pods((100, 1500), (100, 100)), rooms)
    assert fault == (
        "1 of 2 pods find no node: web requests 0.1 processors and 1.5 GiB, and the freest of "
        "2 nodes has 1 processors and 1.0 GiB left"
    )


def test_a_node_takes_so_many_pods() -> None:
    rooms = node_rooms([a_node()], [])
    assert nodes_fault(pods(*[(1, 1)] * 10), rooms) == ""
    assert nodes_fault(pods(*[(1, 1)] * 11), rooms).startswith("1 of 11 pods find no node")


@given(
    st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), max_size=12),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 2000)), max_size=5),
)
def test_what_is_placed_never_exceeds_a_node(
    sizes: list[tuple[int, int]], free: list[tuple[int, int]]
) -> None:
    """Against a placing of its own: what is lost is at least what all nodes together lack."""
    rooms = [
        NodeRoom(str(number), Requests(cpu, memory * MIB), 110, {}, ())
        for number, (cpu, memory) in enumerate(free)
    ]
    wanted = pods(*sizes)
    lost = unplaced(wanted, rooms)
    placed = list(wanted)
    for each in lost:
        placed.remove(each)
    assert sum(pod.requests.cpu for pod in placed) <= sum(cpu for cpu, _ in free)
    assert sum(pod.requests.memory for pod in placed) <= sum(memory * MIB for _, memory in free)
    # What fits a node that is empty but for it is never lost alone.
    if len(wanted) == 1 and lost:
        assert not any(cpu >= sizes[0][0] and memory >= sizes[0][1] for cpu, memory in free)


# -- quota, rules, connections --------------------------------------------------------------------


def a_quota(hard: dict[str, str], used: dict[str, str], **spec: Any) -> dict[str, Any]:
    status = {"used": used}
    return {"metadata": {"name": "quota"}, "spec": {"hard": hard, **spec}, "status": status}


NEEDS = Needs(
    (Placing("web", Requests(500, GIB), Requests(1000, 2 * GIB)),) * 2, (("efs", 2 * GIB),)
)


@pytest.mark.parametrize(
    ("hard", "used", "told"),
    [
        ({"requests.cpu": "2"}, {"requests.cpu": "1"}, ""),
        (
            {"requests.cpu": "2"},
            {"requests.cpu": "1100m"},
            "quota allows 2 of requests.cpu, 1100m of it used, and 1 more is needed",
        ),
        ({"cpu": "900m"}, {}, "quota allows 900m of cpu, 0 of it used, and 1 more is needed"),
        ({"limits.memory": "4Gi"}, {"limits.memory": "0"}, ""),
        (
            {"limits.memory": "4Gi"},
            {"limits.memory": "1"},
            "quota allows 4Gi of limits.memory, 1 of it used, and 4.0 GiB more is needed",
        ),
        (
            {"pods": "3"},
            {"pods": "2"},
            "quota allows 3 of pods, 2 of it used, and 2 more is needed",
        ),
        (
            {"persistentvolumeclaims": "5", "requests.storage": "3Gi"},
            {"persistentvolumeclaims": "1", "requests.storage": "2Gi"},
            "quota allows 3Gi of requests.storage, 2Gi of it used, and 2.0 GiB more is needed",
        ),
        ({"count/configmaps": "0"}, {}, ""),
    ],
)
def test_a_quota_is_read_as_the_api_counts(
    hard: dict[str, str], used: dict[str, str], told: str
) -> None:
    assert quota_fault([a_quota(hard, used)], NEEDS) == told
    assert quota_fault([a_quota(hard, used, scopes=["BestEffort"])], NEEDS) == ""


def test_nothing_that_is_needed_is_no_fault_of_a_quota_that_is_exceeded() -> None:
    over = a_quota({"pods": "1"}, {"pods": "2"})
    assert quota_fault([over], Needs(())) == ""


def test_rules_are_counted_by_match_and_by_path() -> None:
    route = {"kind": "HTTPRoute", "spec": {"rules": [{"matches": [{}, {}, {}]}, {}]}}
    paths: dict[str, Any] = {"http": {"paths": [{}, {}]}}
    ingress = {"kind": "Ingress", "spec": {"rules": [paths, {}]}}
    assert rules_fault(1, [route, ingress], 8) == ""
    told = "the load balancer has 7 of 7 rules, and 1 more are needed"
    assert rules_fault(1, [route, ingress], 7) == told


def test_connections_are_those_there_are_and_those_there_may_be() -> None:
    wanted = [Placing("web", Requests(), connections=4)] * 2
    assert connections_fault(Connections(100, 92), wanted) == ""
    told = "the database server has 93 of 100 connections, and 8 more may be needed"
    assert connections_fault(Connections(100, 93), wanted) == told
    assert connections_fault(Connections(100, 93), wanted, freed=1) == ""


# -- sleep ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), max_size=8), st.integers(0, 20))
def test_nobody_would_have_to_sleep_for_nothing(frees: list[int], needed: int) -> None:
    names = [str(number) for number in range(len(frees))]

    def fits(gone: Collection[str]) -> bool:
        return sum(frees[int(name)] for name in gone) >= needed

    found = fewest_sleepers(names, fits)
    assert (found is None) == (not names or not fits(names))
    if found and needed:
        assert fits(found)
        assert not any(fits([each for each in found if each != one]) for one in found)
