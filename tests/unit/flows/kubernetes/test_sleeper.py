"""What is stopped of an environment in a cluster, in which order, and what is left in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.terminal.console import Activity
from tasks.core.environment import State
from tasks.core.errors import ClusterError, DeadlineError, SuiteError
from tasks.core.kubernetes.manifests import COMPONENT, INSTANCE
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.sleep import Pinned, Rest, Sleep
from tasks.flows.kubernetes.context import branch_namespace
from tasks.flows.kubernetes.sleeper import ClusterSleeper, wake_for_deploy
from tasks.flows.target import SleepPlan
from tests.support.fakes import NAMES, RELEASE, REQUEST
from tests.support.fakes_cluster import NAMESPACE, FakeCluster, FakeHelm, a_cluster_context

SLEEP = Sleep("2026-01-01T00:00:00+00:00", "ada@host", "by hand")
USED_AT = "2026-01-02T00:00:00+00:00"
OWNER = REQUEST.owner
WORKLOADS = {
    "web": ("Deployment", "web", {"replicas": 3}),
    "worker": ("Deployment", "worker", {"replicas": 2}),
    "off": ("Deployment", "worker", {"replicas": 0}),
    "segments": ("CronJob", "cron", {"suspend": False}),
    "held": ("CronJob", "cron", {"suspend": True}),
    "mysql": ("StatefulSet", "mysql", {"replicas": 1}),
    "redis": ("Deployment", "redis", {"replicas": 1}),
}
MARK = f"patch Namespace {NAMESPACE}: asleep "
STOPS = [
    "patch CronJob segments: suspend True, awake false",
    "patch Deployment worker: replicas 0, awake 2",
    "idle",
    "patch Deployment web: replicas 0, awake 3",
    "patch Deployment redis: replicas 0, awake 1",
    "patch StatefulSet mysql: replicas 0, awake 1",
]
STARTS = [
    "patch Deployment redis: replicas 1, awake None",
    "patch StatefulSet mysql: replicas 1, awake None",
    "patch Deployment web: replicas 3, awake None",
    "settled",
    "patch CronJob segments: suspend False, awake None",
    "patch Deployment worker: replicas 2, awake None",
]


@dataclass
class Bench:
    """A sleeper on a fake cluster, with one environment."""

    cluster: FakeCluster
    sleeper: ClusterSleeper
    said: list[str] = field(default_factory=list)

    def specs(self) -> dict[str, Any]:
        return {
            name: dict(self.cluster.objects[kind, NAMESPACE, name]["spec"])
            for name, (kind, _, _) in WORKLOADS.items()
        }

    def run(self, plan: SleepPlan) -> SleepPlan:
        for _, action in plan.todo:
            action(Activity(self.said.append, self.said.append))
        return plan

    def sleep(self) -> SleepPlan:
        return self.run(self.sleeper.plan_sleep(OWNER, NAMES, SLEEP))

    def wake(self) -> SleepPlan:
        return self.run(self.sleeper.plan_wake(OWNER, NAMES, USED_AT))

    @property
    def rest(self) -> Rest | None:
        return self.sleeper.rest(OWNER, NAMES)

    def add_pod(self, name: str, component: str, phase: str = "Running") -> None:
        labels = {INSTANCE: NAMES.release, COMPONENT: component}
        self.cluster.put("Pod", name, NAMESPACE, labels=labels)
        self.cluster.objects["Pod", NAMESPACE, name]["status"] = {"phase": phase}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    cluster = FakeCluster()
    context, _ = a_cluster_context(cluster, FakeHelm(), tmp_path)
    record = ClusterRecord(State.READY, NAMES.url, revision=1, history=(RELEASE,))
    cluster.keep(branch_namespace(OWNER, NAMES, record))
    for name, (kind, component, spec) in WORKLOADS.items():
        labels = {INSTANCE: NAMES.release, COMPONENT: component}
        cluster.put(kind, name, NAMESPACE, labels=labels)
        cluster.objects[kind, NAMESPACE, name]["spec"] = dict(spec)

    def in_turn(call: Callable[[Any], Any], items: list[Any]) -> None:
        for item in sorted(items, key=lambda each: each[0]["metadata"]["name"]):
            call(item)

    def note(what: str) -> Callable[..., None]:
        return lambda *_, **__: cluster.note(what)

    monkeypatch.setattr("tasks.flows.kubernetes.sleeper.map_parallel", in_turn)
    monkeypatch.setattr("tasks.flows.kubernetes.sleeper.wait_until_idle", note("idle"))
    monkeypatch.setattr("tasks.flows.kubernetes.sleeper.wait_settled", note("settled"))
    return Bench(cluster, ClusterSleeper(context))


def test_all_is_stopped_in_order_and_started_in_the_other_one(bench: Bench) -> None:
    before = bench.specs()
    bench.sleep()
    assert bench.cluster.seen[0].startswith(MARK)
    assert sorted(bench.cluster.seen[1:3]) == sorted(STOPS[:2])
    assert bench.cluster.seen[3:5] == STOPS[2:4]
    assert sorted(bench.cluster.seen[5:]) == sorted(STOPS[4:])
    assert bench.rest
    assert bench.rest.asleep == SLEEP
    bench.cluster.seen.clear()
    bench.wake()
    assert sorted(bench.cluster.seen[:2]) == STARTS[:2]
    assert bench.cluster.seen[2:4] == STARTS[2:4]
    assert sorted(bench.cluster.seen[4:6]) == sorted(STARTS[4:])
    last = f"patch Namespace {NAMESPACE}: asleep None, waking None, used-at {USED_AT}"
    assert bench.cluster.seen[6:] == [last]
    assert bench.specs() == before
    assert bench.rest == Rest(used_at=USED_AT)


def test_the_second_time_does_nothing(bench: Bench) -> None:
    assert bench.wake().steps == ()
    bench.sleep()
    seen = len(bench.cluster.seen)
    assert bench.sleep().steps == ()
    bench.wake()
    assert bench.wake().steps == ()
    assert len(bench.cluster.seen) == seen + 7


@pytest.mark.parametrize("failing", [line for line in STOPS if line != "idle"])
@pytest.mark.parametrize("finish", ["sleep", "wake"])
def test_a_count_is_never_noted_as_0_however_often_it_is_interrupted(
    bench: Bench, failing: str, finish: str
) -> None:
    before = bench.specs()
    bench.cluster.fails = {failing: [ClusterError("gone"), ClusterError("gone")]}
    for _ in range(2):
        with pytest.raises(ClusterError):
            bench.sleep()
    assert bench.rest
    assert bench.rest.asleep == SLEEP
    if finish == "sleep":
        bench.sleep()
    bench.wake()
    assert bench.specs() == before


@pytest.mark.parametrize("failing", ["settled", *(line for line in STARTS if "patch" in line)])
def test_a_wake_that_was_interrupted_is_finished_by_the_next_one(
    bench: Bench, failing: str
) -> None:
    before = bench.specs()
    bench.sleep()
    bench.cluster.fails = {failing: [SuiteError("no answer")]}
    with pytest.raises(SuiteError):
        bench.wake()
    assert bench.rest
    assert bench.rest.asleep, "until all is up"
    bench.wake()
    assert bench.specs() == before
    assert bench.rest == Rest(used_at=USED_AT)


def test_what_still_ends_after_an_interruption_is_waited_for(bench: Bench) -> None:
    bench.sleep()
    bench.add_pod("web-1", "web")
    bench.add_pod("done", "cron", "Succeeded")
    bench.add_pod("migrate", "migrate", "Failed")
    plan = bench.sleeper.plan_sleep(OWNER, NAMES, SLEEP)
    assert [(step.verb, step.subject) for step in plan.steps] == [
        ("mark", f"namespace {NAMESPACE}"),
        ("stop", "web"),
    ]


def test_a_pod_that_does_not_end_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.flows.kubernetes.sleeper.END_SECONDS", 0.3)
    bench.add_pod("web-1", "web")
    with pytest.raises(DeadlineError, match="pod/web-1"):
        bench.sleep()
    assert "waiting for the end of pod/web-1" in bench.said
    assert bench.cluster.objects["StatefulSet", NAMESPACE, "mysql"]["spec"]["replicas"] == 1


def test_a_deploy_starts_everything_at_once_and_waits_for_its_own(bench: Bench) -> None:
    before = bench.specs()
    bench.sleep()
    wake_for_deploy(bench.cluster, NAMES)  # type: ignore[arg-type]
    assert bench.specs() == before
    assert "settled" not in bench.cluster.seen
    assert bench.rest
    assert bench.rest.asleep is None


def test_a_pin_and_a_use_are_said_by_the_namespace(bench: Bench) -> None:
    pin = Pinned(USED_AT, "ada@host")
    bench.sleeper.pin(OWNER, NAMES, pin)
    bench.sleeper.note_use(OWNER, NAMES, USED_AT)
    assert bench.rest == Rest(None, pin, USED_AT)
    bench.sleeper.pin(OWNER, NAMES, None)
    assert bench.rest == Rest(None, None, USED_AT)


def test_what_was_never_deployed_knows_no_sleep(bench: Bench) -> None:
    bench.cluster.keep(branch_namespace(OWNER, NAMES, ClusterRecord(State.FAILED, NAMES.url)))
    assert bench.rest is None
    assert bench.wake().steps == ()
