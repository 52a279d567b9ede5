"""A working tree shown in a cluster: which pods get what, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.core.environment import Release, State
from tasks.core.errors import ClusterError, InputError, SuiteError
from tasks.core.kubernetes.manifests import COMPONENT, INSTANCE, PREFIX
from tasks.core.kubernetes.record import ClusterRecord, record_of
from tasks.flows.kubernetes.context import branch_namespace
from tasks.flows.kubernetes.workshop import ClusterWorkshop
from tasks.flows.target import Request
from tests.support.fakes import NAMES, RELEASE, REQUEST
from tests.support.fakes_cluster import NAMESPACE, FakeCluster, FakeHelm, a_cluster_context

OWNER = REQUEST.owner
PLACE = (OWNER, NAMES)


@dataclass
class FakeRollout:
    """What rolls a release out: remembers the values."""

    values: list[Mapping[str, Any]] = field(default_factory=list)

    def roll_out_again(self, request: Request, release: Release, values: Mapping[str, Any]) -> None:
        assert (request.tag, release) == (RELEASE.tag, RELEASE)
        self.values.append(values)


@dataclass
class Bench:
    cluster: FakeCluster
    helm: FakeHelm
    rollout: FakeRollout
    workshop: ClusterWorkshop

    def add(self, kind: str, name: str, service: str, *, shows: bool = True) -> None:
        component, _, which = service.partition("-")
        labels = {INSTANCE: NAMES.release, COMPONENT: component}
        labels |= {f"{PREFIX}{component}": which} if which else {}
        self.cluster.put(kind, name, NAMESPACE, labels=labels)
        container = {"web": "fpm"}.get(component, component)
        mounts = [{"name": "dev-config"}] if shows else []
        spec = {
            "volumes": [{"name": "dev-config"}] if shows else [],
            "containers": [{"name": "nginx"}, {"name": container, "volumeMounts": mounts}],
        }
        kept = self.cluster.objects[kind, NAMESPACE, name]
        kept["spec"] = {"template": {"spec": spec}} if kind == "Deployment" else spec
        running = [{"name": container, "state": {"running": {}}}]
        kept["status"] = {"containerStatuses": running}

    def answer(self, pod: str, said: str) -> None:
        self.cluster.objects["Pod", NAMESPACE, pod]["metadata"]["annotations"] = {"answer": said}

    @property
    def record(self) -> ClusterRecord:
        found = record_of(self.cluster.objects["Namespace", None, NAMESPACE])
        assert found
        return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    cluster = FakeCluster()
    helm = FakeHelm(cluster=cluster)
    context, _ = a_cluster_context(cluster, helm, tmp_path)
    record = ClusterRecord(State.READY, NAMES.url, revision=1, history=(RELEASE,))
    cluster.keep(branch_namespace(OWNER, NAMES, record))
    helm.record("deployed")
    rollout = FakeRollout()
    made = Bench(cluster, helm, rollout, ClusterWorkshop(context, rollout))  # type: ignore[arg-type]
    made.add("Pod", "web-1", "web")
    made.add("Pod", "worker-1", "worker-email")
    made.add("Pod", "old", "web", shows=False)

    def in_order(ask: Any, each: Any) -> list[Any]:
        return [ask(item) for item in each]

    def settled(*_: object, **__: object) -> None:
        cluster.note("settled")

    monkeypatch.setattr("tasks.flows.kubernetes.workshop.map_parallel", in_order)
    monkeypatch.setattr("tasks.flows.kubernetes.workshop.wait_settled", settled)
    monkeypatch.setattr("tasks.flows.kubernetes.workshop.check_records", lambda *_: None)
    return made


def test_it_is_opened_by_a_value_and_left_by_a_rollback(bench: Bench) -> None:
    bench.workshop.open(*PLACE, debugger=False)
    assert bench.rollout.values == [{"dev": True}]
    bench.helm.record("superseded", "deployed")
    bench.workshop.close(*PLACE)
    assert bench.helm.seen == ["rollback 1"]
    assert (bench.record.revision, bench.record.state) == (3, State.READY)
    assert bench.cluster.seen[-1] == "settled"


def test_a_deployment_tells_whether_it_is_open(bench: Bench) -> None:
    bench.add("Deployment", "web", "web", shows=False)
    assert not bench.workshop.is_open(*PLACE)
    bench.add("Deployment", "worker", "worker")
    assert bench.workshop.is_open(*PLACE)


def test_all_pods_that_show_it_get_what_is_written(bench: Bench) -> None:
    bench.workshop.write(*PLACE, b"one", ["gone"])
    both = ("web-1 fpm", "worker-1 worker")
    assert bench.cluster.seen == [f"{pod}: {what}" for pod in both for what in ("gone\0", "one")]


def test_a_new_pod_gets_all_that_was_written(bench: Bench) -> None:
    bench.workshop.write(*PLACE, b"one", [])
    bench.add("Pod", "web-2", "web")
    bench.cluster.seen.clear()
    bench.workshop.write(*PLACE, b"two", [])
    assert bench.cluster.seen == [
        *("web-1 fpm: two", "worker-1 worker: two"),
        *("web-2 fpm: one", "web-2 fpm: two"),
    ]


def test_a_pod_that_could_not_be_written_gets_it_with_the_next_change(bench: Bench) -> None:
    bench.cluster.fails["web-1 fpm: one"] = [ClusterError("the connection broke off")]
    with pytest.raises(ClusterError):
        bench.workshop.write(*PLACE, b"one", [])
    bench.cluster.fails.clear()
    bench.cluster.seen.clear()
    bench.workshop.write(*PLACE, b"two", [])
    assert bench.cluster.seen[:2] == ["web-1 fpm: one", "web-1 fpm: two"]


def test_the_files_of_web_are_listed(bench: Bench) -> None:
    bench.answer("web-1", "11  docroot/themes/a b\n22  config/c\n")
    assert bench.workshop.hashes(*PLACE) == {"docroot/themes/a b": "11", "config/c": "22"}


def test_the_pods_of_web_are_warmed_up(bench: Bench) -> None:
    bench.answer("web-1", "")
    bench.workshop.warm_up(*PLACE)
    (asked,) = runs(bench)
    assert "lint:container" in asked


def test_what_cannot_be_compiled_is_told(bench: Bench) -> None:
    with pytest.raises(SuiteError, match="the cache cannot be compiled"):
        bench.workshop.compile(*PLACE, routes=True)
    bench.answer("web-1", "")
    bench.workshop.compile(*PLACE, routes=True)


def test_the_caches_of_web_are_compiled_and_then_each_of_the_others(bench: Bench) -> None:
    bench.answer("web-1", "")
    bench.workshop.compile(*PLACE, routes=False)
    assert len(runs(bench)) == 1
    bench.answer("worker-1", "")
    assert bench.workshop.follow(*PLACE, lambda: True)
    assert len(runs(bench)) == 2


def test_the_others_are_left_where_something_newer_is_waited_for(bench: Bench) -> None:
    bench.add("Pod", "worker-2", "worker-hit")
    for pod in ("worker-1", "worker-2"):
        bench.answer(pod, "")
    turns = iter([True, False])
    assert not bench.workshop.follow(*PLACE, lambda: next(turns))
    assert len(runs(bench)) == 1


def runs(bench: Bench) -> list[str]:
    """Return what was run in pods."""
    return [asked for asked in bench.cluster.asked if asked.startswith("run ")]


def compiled(bench: Bench, *, routes: bool) -> list[bool]:
    """Write and compile everywhere; return for each pod whether it kept its routes."""
    bench.workshop.write(*PLACE, b"a file", [])
    bench.cluster.asked.clear()
    bench.workshop.compile(*PLACE, routes=routes)
    bench.workshop.follow(*PLACE, lambda: True)
    return ["DEV_KEEP_ROUTES=1" in asked for asked in runs(bench)]


def test_routes_are_compiled_once_in_each_pod_after_they_may_have_changed(bench: Bench) -> None:
    for pod in ("web-1", "worker-1"):
        bench.answer(pod, "")
    # The image's are kept.
    assert compiled(bench, routes=False) == [True, True]
    assert compiled(bench, routes=True) == [False, False]
    # A pod that came later has its image's, whatever has changed last.
    bench.add("Pod", "cron-1", "cron")
    bench.answer("cron-1", "")
    assert compiled(bench, routes=False) == [True, True, False]
    assert compiled(bench, routes=False) == [True, True, True]


def test_a_pod_that_compiles_before_it_has_the_files_does_it_again_with_them(bench: Bench) -> None:
    bench.answer("web-1", "")
    bench.workshop.write(*PLACE, b"a route", [])
    bench.add("Pod", "web-2", "web")
    bench.answer("web-2", "")
    bench.workshop.compile(*PLACE, routes=True)
    bench.workshop.write(*PLACE, b"a file", [])
    bench.cluster.asked.clear()
    bench.workshop.compile(*PLACE, routes=False)
    assert ["DEV_KEEP_ROUTES=1" in asked for asked in runs(bench)] == [True, False]


def test_only_the_services_that_are_named_start_anew(bench: Bench) -> None:
    bench.answer("worker-1", "")
    bench.workshop.restart(*PLACE, ["worker"])
    assert len([line for line in bench.cluster.asked if "kill -s TERM" in line]) == 1


def test_nothing_is_shown_where_nothing_was_deployed(bench: Bench) -> None:
    bench.cluster.keep(branch_namespace(OWNER, NAMES, ClusterRecord(State.FAILED, NAMES.url)))
    with pytest.raises(InputError, match="has no environment"):
        bench.workshop.open(*PLACE, debugger=False)
