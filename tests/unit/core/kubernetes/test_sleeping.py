"""What is stopped of an environment in a cluster, in which order, and what that leaves."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tasks.core.environment import Release, State
from tasks.core.errors import UnreadableError
from tasks.core.kubernetes.labels import ASLEEP, AWAKE, PIN, USED_AT
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.kubernetes.sleeping import annotated, rest_of
from tasks.core.kubernetes.stages import (
    SleepStage,
    awake_count,
    is_up,
    of_stage,
    stage_of,
    start_patch,
    starts,
    stop_patch,
    stops,
)
from tasks.core.sleep import NO_REST, Pinned, Rest, Sleep

Object = dict[str, Any]
SLEEP = Sleep("2026-01-01T00:00:00+00:00", "ada@host", "by hand")
PINNED = Pinned("2026-01-01T00:00:00+00:00", "ada@host", "2026-02-01T00:00:00+00:00")


def workload(kind: str, spec: Object, noted: str | None = None, component: str = "web") -> Object:
    annotations = {} if noted is None else {AWAKE: noted}
    labels = {"app.kubernetes.io/component": component}
    metadata = {"name": "x", "labels": labels, "annotations": annotations}
    return {"kind": kind, "metadata": metadata, "spec": spec}


def patched(item: Object, patch: Object | None) -> Object:
    """Return a workload after a merge patch."""
    changed = copy.deepcopy(item)
    if patch:
        changed["spec"] |= patch["spec"]
        for key, value in patch["metadata"]["annotations"].items():
            changed["metadata"]["annotations"].pop(key, None)
            if value is not None:
                changed["metadata"]["annotations"][key] = value
    return changed


@pytest.mark.parametrize(
    ("item", "noted", "stopped"),
    [
        (workload("Deployment", {"replicas": 3}), "3", {"replicas": 0}),
        # The API's default.
        (workload("StatefulSet", {}), "1", {"replicas": 0}),
        (workload("CronJob", {"suspend": False}), "false", {"suspend": True}),
        (workload("CronJob", {}), "false", {"suspend": True}),
        # A note from before, of one that was started since by somebody else.
        (workload("Deployment", {"replicas": 2}, "5"), "2", {"replicas": 0}),
    ],
)
def test_a_workload_is_stopped_and_started_as_it_was(
    item: Object, noted: str, stopped: Object
) -> None:
    asleep = patched(item, stop_patch(item))
    assert asleep["metadata"]["annotations"][AWAKE] == noted
    assert asleep["spec"] == stopped
    # The same again, as after an interruption: the note stays.
    assert stop_patch(asleep) is None
    awake = patched(asleep, start_patch(asleep))
    assert AWAKE not in awake["metadata"]["annotations"]
    default: Object = {"suspend": False} if item["kind"] == "CronJob" else {"replicas": 1}
    assert awake["spec"] == {**default, **item["spec"]}
    assert start_patch(awake) is None


@pytest.mark.parametrize(
    "item",
    [
        workload("Deployment", {"replicas": 0}),
        workload("CronJob", {"suspend": True}),
    ],
)
def test_what_does_not_run_is_no_part_of_a_sleep(item: Object) -> None:
    assert stop_patch(item) is None
    assert start_patch(item) is None


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_note_that_the_entrance_has_left_starts_nothing_that_did_not_run(kind: str) -> None:
    item = workload(kind, {"replicas": 0}, "3")
    assert stop_patch(item) is None
    asleep = patched(item, stop_patch(item, fresh=True))
    assert start_patch(asleep) is None
    running = workload(kind, {"replicas": 2}, "3")
    again = patched(running, stop_patch(running, fresh=True))
    assert awake_count(again) == 2


def test_what_somebody_else_has_started_stays_as_it_is() -> None:
    item = workload("Deployment", {"replicas": 4}, "2")
    assert patched(item, start_patch(item))["spec"] == {"replicas": 4}
    assert start_patch(item) is not None, "its note must go"


@pytest.mark.parametrize(
    ("noted", "count"),
    [("2", 2), ("0", 1), ("-3", 1), ("", 1), ("many", 1), ("10000", 1), ("٣", 1)],
)
def test_a_damaged_note_means_one_pod(noted: str, count: int) -> None:
    assert awake_count(workload("Deployment", {"replicas": 0}, noted)) == count


def test_the_order() -> None:
    components = ("worker", "cron", "web", "mysql", "redis", "mail", "")
    assert [stage_of(workload("Deployment", {}, component=each)) for each in components] == [
        *(SleepStage.WORK, SleepStage.WORK, SleepStage.WEB),
        *[SleepStage.SERVERS] * 4,
    ]
    assert sorted(SleepStage) == [SleepStage.WORK, SleepStage.WEB, SleepStage.SERVERS]
    web = workload("Deployment", {})
    assert of_stage([web], SleepStage.WEB) == [web]
    assert of_stage([web], SleepStage.WORK) == []


def test_all_is_stopped_in_one_order_and_started_in_the_other() -> None:
    components = ("mysql", "web", "cron", "worker")
    found = [workload("Deployment", {"replicas": 2}, component=each) for each in components]
    down = list(stops(found))
    assert [(stage.name, len(changes)) for stage, changes in down] == [
        *(("WORK", 2), ("WEB", 1), ("SERVERS", 1)),
    ]
    assert [changes for _, changes in starts(found)] == [[], [], []]
    asleep = [patched(item, patch) for _, changes in down for item, patch in changes]
    assert [changes for _, changes in stops(asleep)] == [[], [], []]
    assert [(stage.name, len(changes)) for stage, changes in starts(asleep)] == [
        *(("SERVERS", 1), ("WEB", 1), ("WORK", 2)),
    ]


@pytest.mark.parametrize(
    ("component", "phase", "up"),
    [
        ("web", "Running", True),
        ("web", "Pending", True),
        ("cron", "Succeeded", False),
        ("cron", "Failed", False),
        ("migrate", "Running", False),
    ],
)
def test_which_pods_count(component: str, phase: str, *, up: bool) -> None:
    pod = workload("Pod", {}, component=component) | {"status": {"phase": phase}}
    assert is_up(pod) is up


def space(**annotations: str | None) -> Object:
    keys = {"asleep": ASLEEP, "pin": PIN, "used_at": USED_AT}
    return {"metadata": {"annotations": {keys[key]: annotations[key] for key in annotations}}}


def test_a_namespace_tells_what_was_written() -> None:
    said = space(asleep=annotated(SLEEP), pin=annotated(PINNED), used_at="2026-01-02T00:00:00Z")
    assert rest_of(said, None) == Rest(SLEEP, PINNED, "2026-01-02T00:00:00Z")
    assert rest_of(space(), None) == NO_REST
    assert annotated(None) is None


def test_a_deploy_is_a_use() -> None:
    release = Release("t", "", "m", "n", "ada@host", "2026-01-03T00:00:00+00:00")
    record = ClusterRecord(State.READY, "http://x", history=(release,))
    said = space(used_at="2026-01-02T00:00:00Z")
    assert rest_of(said, record).used_at == release.deployed_at
    later = "2026-01-04T00:00:00Z"
    assert rest_of(space(used_at=later), record).used_at == later


@pytest.mark.parametrize("said", [space(asleep="yes"), space(pin="{}"), space(used_at="yesterday")])
def test_what_is_damaged_is_told(said: Object) -> None:
    with pytest.raises(UnreadableError):
        rest_of(said, None)
