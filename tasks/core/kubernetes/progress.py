"""The progress of each workload of a rollout, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.core.kubernetes.objects import (
    Object,
    container_statuses,
    controller_uid,
    created_at,
    has_condition,
    is_running,
    main_statuses,
    title_of,
    uid_of,
)
from tasks.core.kubernetes.snapshot import Snapshot, is_by_job, is_observed, new_replicasets
from tasks.core.kubernetes.symptoms import pod_symptoms
from tasks.core.kubernetes.waits import LINE_LENGTH, probe_answer, wait_message


@dataclass(frozen=True)
class WorkloadProgress:
    """The progress of one workload.

    Attributes:
        workload: e.g. ``deployment/web``.
        desired: number of desired pods.
        updated: number of pods of the new revision.
        ready: number of those that are ready.
        complete: whether all desired pods are available, and none is of an old revision.
        note: what it is waiting for, in a few words.
        began: when its new revision was created.
    """

    workload: str
    desired: int
    updated: int
    ready: int
    complete: bool
    note: str = ""
    began: datetime | None = None


def progress(snapshot: Snapshot, pods: Sequence[Object]) -> Iterator[WorkloadProgress]:
    """Yield a row for each workload and each Job.

    Args:
        pods: the pods of the newest revision.
    """
    newest = new_replicasets(snapshot)
    for workload in snapshot.workloads:
        mine = [rs for rs in newest if controller_uid(rs) == uid_of(workload)] or [workload]
        owners = {uid_of(owner) for owner in mine}
        members = [pod for pod in pods if controller_uid(pod) in owners]
        desired = workload.get("spec", {}).get("replicas", 1)
        ready = sum(has_condition(pod, "Ready") for pod in members)
        updated = workload.get("status", {}).get("updatedReplicas", 0)
        yield WorkloadProgress(
            title_of(workload),
            desired,
            updated if is_observed(workload) else 0,
            ready,
            # The pods must be known as well: their watch may lag behind.
            _is_complete(workload) and ready >= desired,
            next(filter(None, (_note(pod, snapshot) for pod in members)), ""),
            created_at(mine[0]),
        )
    for job in snapshot.jobs:
        done = has_condition(job, "Complete")
        members = [pod for pod in pods if controller_uid(pod) == uid_of(job)]
        notes = [_note(pod, snapshot) for pod in members] or ["it has no pod yet"]
        yield WorkloadProgress(
            f"job/{job['metadata']['name']}",
            1,
            job.get("status", {}).get("active", 0) + done,
            int(done),
            done,
            "" if done else next(filter(None, notes), ""),
            created_at(job),
        )


def _is_complete(workload: Object) -> bool:
    """Return True if a workload runs its new revision alone, every pod of it available.

    The rule of ``kubectl rollout status`` (polymorphichelpers/rollout_status.go).
    """
    wanted = workload.get("spec", {}).get("replicas", 1)
    status = workload.get("status", {})
    return is_observed(workload) and all(
        status.get(count, 0) == wanted
        for count in ("updatedReplicas", "replicas", "availableReplicas")
    )


def _note(pod: Object, snapshot: Snapshot) -> str:
    """Return what a pod waits for, by its own message or by the API."""
    for container in container_statuses(pod):
        words, _ = wait_message(pod, container, snapshot)
        if words:
            return f"{container['name']} waits: {words.sentence[:LINE_LENGTH]}"
    if has_condition(pod, "Ready"):
        return ""
    for symptom in pod_symptoms(pod, snapshot):
        return symptom.reason
    for container in main_statuses(pod):
        if is_running(container) and not container.get("ready"):
            answer = "" if is_by_job(pod) else probe_answer(pod, container, snapshot)
            got = answer.partition(" probe: ")[2]
            return f"{container['name']} is not ready{f': {got}' if got else ''}"
    return ""
