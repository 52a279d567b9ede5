"""Finds symptoms in the API's reports; ``failures.RULES`` decides which of them are failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from tasks.core.kubernetes.failures import Symptom
from tasks.core.kubernetes.objects import (
    CLOCK_STEP,
    Object,
    container_statuses,
    controller_uid,
    event_subject,
    event_uid,
    find_condition,
    has_condition,
    init_statuses,
    is_running,
    last_seen,
    latest_end,
    main_statuses,
    parse_time,
    title_of,
    uid_of,
)
from tasks.core.kubernetes.snapshot import Snapshot, is_observed, new_replicasets
from tasks.core.kubernetes.waits import LINE_LENGTH, wait_symptoms, with_probe_answer

CLAIM = "persistentvolumeclaim"
START_ERRORS = frozenset({"StartError", "ContainerCannotRun"})
"""Reasons of containers that could not be started; irrelevant once the container runs."""


def symptoms(
    snapshot: Snapshot, pods: Sequence[Object], started: datetime, now: datetime
) -> Iterator[Symptom]:
    """Yield the symptoms in a snapshot.

    Args:
        pods: the pods of the newest revision.
        started: when the rollout began; events from before are ignored.
        now: the cluster's present time.
    """
    yield from _of_pods(pods, snapshot, now)
    for replicaset in new_replicasets(snapshot):
        yield from _of_condition(replicaset, "ReplicaFailure", "True")
    for workload in snapshot.workloads:
        if is_observed(workload):
            yield from _of_condition(workload, "Progressing", "False")
    for job in snapshot.jobs:
        words = _last_words(job, pods)
        # The target is set when the limit is reached, the failure when all pods have ended.
        for kind in ("FailureTarget", "Failed"):
            for symptom in _of_condition(job, kind, "True"):
                yield replace(symptom, message=symptom.message + words)
    yield from _of_events(snapshot, pods, started)


def _of_condition(item: Object, kind: str, status: str) -> Iterator[Symptom]:
    if condition := find_condition(item, kind, status):
        yield Symptom(
            condition.get("reason", ""),
            title_of(item),
            condition.get("message", ""),
            parse_time(condition.get("lastTransitionTime")),
        )


# -- events ---------------------------------------------------------------------------------------


def _of_events(snapshot: Snapshot, pods: Sequence[Object], started: datetime) -> Iterator[Symptom]:
    affected = incomplete_objects(snapshot, pods)
    for event in snapshot.events:
        if (
            event.get("type") == "Warning"
            and event_uid(event) in affected
            and last_seen(event) > started - CLOCK_STEP
        ):
            yield Symptom(
                event.get("reason", ""),
                event_subject(event),
                event.get("message") or "",
                parse_time(event.get("firstTimestamp") or event.get("eventTime")),
            )


def incomplete_objects(snapshot: Snapshot, pods: Sequence[Object]) -> set[str]:
    """Return the uids of incomplete objects; events about other objects are outdated.

    An event is kept for an hour, even if its cause has healed. A pod whose containers have started
    has all its volumes; an owner with all its pods was allowed to create them.
    """
    starting = [pod for pod in pods if not _has_started(pod)]
    return {
        uid_of(item)
        for item in (
            *starting,
            *(claim for pod in starting for claim in _unbound(pod, snapshot)),
            *(
                stateful
                for stateful in snapshot.statefulsets
                if stateful.get("status", {}).get("replicas", 0)
                < stateful.get("spec", {}).get("replicas", 1)
            ),
            *(
                job
                for job in snapshot.jobs
                if not job.get("status", {}).get("active") and not has_condition(job, "Complete")
            ),
        )
    }


def _has_started(pod: Object) -> bool:
    return any(
        "waiting" not in container.get("state", {}) or container.get("lastState")
        for container in container_statuses(pod)
    )


def _unbound(pod: Object, snapshot: Snapshot) -> list[Object]:
    """Return the claims that a pod waits for."""
    used = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in pod.get("spec", {}).get("volumes", [])
        if "persistentVolumeClaim" in volume
    }
    return [
        claim
        for claim in snapshot.claims
        if claim["metadata"]["name"] in used and claim.get("status", {}).get("phase") != "Bound"
    ]


# -- pods -----------------------------------------------------------------------------------------


def _of_pods(pods: Sequence[Object], snapshot: Snapshot, now: datetime) -> Iterator[Symptom]:
    served = {
        uid_of(owner)
        for owner in (*new_replicasets(snapshot), *snapshot.statefulsets)
        if owner.get("status", {}).get("readyReplicas", 0) >= owner["spec"].get("replicas", 1)
    }
    for pod in pods:
        # An evicted pod stays in the list after another one has taken its place.
        if pod.get("status", {}).get("phase") == "Failed" and controller_uid(pod) in served:
            continue
        words = _last_warning(pod, snapshot)
        for symptom in (*pod_symptoms(pod, snapshot), *wait_symptoms(pod, snapshot, now)):
            unbound = symptom.reason == "Unschedulable" and CLAIM in symptom.message.lower()
            yield replace(symptom, message=symptom.message + words) if unbound else symptom


def _last_warning(pod: Object, snapshot: Snapshot) -> str:
    """Return why a pod's claims are not bound, as an addition to its message."""
    claims = {uid_of(claim) for claim in _unbound(pod, snapshot)}
    warnings = [
        event
        for event in snapshot.events
        if event.get("type") == "Warning" and event_uid(event) in claims
    ]
    if not warnings:
        return ""
    newest = max(warnings, key=lambda event: (last_seen(event), event["metadata"].get("name", "")))
    reason, message = newest.get("reason", ""), newest.get("message") or ""
    return f"; {CLAIM}/{newest['involvedObject'].get('name')}: {reason}: {message}"


def pod_symptoms(pod: Object, snapshot: Snapshot) -> Iterator[Symptom]:
    """Yield the symptoms of one pod and its containers."""
    status, name = pod.get("status", {}), f"pod/{pod['metadata']['name']}"
    for symptom in _of_condition(pod, "PodScheduled", "False"):
        yield replace(symptom, subject=name)
    if status.get("phase") == "Failed" and status.get("reason"):
        # One that was evicted had run until then; one that its node refused has no containers.
        ends = [
            container.get("state", {}).get("terminated", {}).get("finishedAt") or ""
            for container in main_statuses(pod)
        ]
        since = parse_time(max([status.get("startTime") or "", *ends]) or None)
        yield Symptom(status["reason"], name, status.get("message", ""), since)
    began = status.get("startTime") or pod["metadata"].get("creationTimestamp")
    initialized = find_condition(pod, "Initialized", "True") or {}
    for kind, containers, since in (
        ("init container", init_statuses(pod), began),
        ("container", main_statuses(pod), initialized.get("lastTransitionTime") or began),
    ):
        for container in containers:
            before = snapshot.earlier.get((uid_of(pod), container["name"]), 0)
            subject = f"{name} {kind} {container['name']}"
            for symptom in _of_container(subject, container, since, before):
                yield (
                    with_probe_answer(symptom, pod, container, snapshot)
                    if symptom.crashes
                    else symptom
                )


def _of_container(
    subject: str, container: Object, began: str | None, earlier: int
) -> Iterator[Symptom]:
    restarts = container.get("restartCount", 0) - earlier
    waiting, ended = container.get("state", {}).get("waiting"), latest_end(container)
    since = parse_time(max(began or "", ended.get("finishedAt") or "") or None)
    if waiting and waiting.get("reason") != "CrashLoopBackOff":
        yield Symptom(waiting.get("reason", ""), subject, waiting.get("message", ""), since)
    reason = ended.get("reason") or "Error"
    if not ended or (is_running(container) and reason in START_ERRORS):
        return
    if ended.get("exitCode") != 0 or restarts > 0:
        words = ended.get("message") if reason in START_ERRORS else ""
        # An exit that is not yet followed by a restart counts as well.
        crashes = restarts + (not is_running(container))
        yield Symptom(reason, subject, words or _shown(ended), since, crashes)


def _last_words(job: Object, pods: Sequence[Object]) -> str:
    """Return how a Job's newest failed container ended, as an addition to the Job's message."""
    ends = [
        (
            ended.get("finishedAt") or "",
            f"; pod/{pod['metadata']['name']} container {container['name']} ended with "
            f"{_shown(ended)}",
        )
        for pod in pods
        if controller_uid(pod) == uid_of(job)
        for container in container_statuses(pod)
        if (ended := container.get("state", {}).get("terminated")) and ended.get("exitCode")
    ]
    return max(ends, default=("", ""))[1]


def _shown(ended: Object) -> str:
    """Return how a container ended: its exit code and the last line of its message."""
    lines = (ended.get("message") or "").split("\n")
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    words = f": {line[:LINE_LENGTH]}" if line else ""
    return f"exit code {ended.get('exitCode')}{words}"
