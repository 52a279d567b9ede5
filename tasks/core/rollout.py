"""Is this rollout doomed, still on its way, or done? A pure judgement over what the API reports.

``RULES`` is the failure table: which symptom means what, and how much patience it deserves. What
has no rule there is never named as a cause: a probe that failed once, a node without cluster DNS
or a slow volume is shown, but does not end a deploy. Only pods of the *new* revision count.

Objects are the API's own JSON as dicts (Kubernetes API reference: Pod v1, Deployment apps/v1,
Job batch/v1, Event v1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

Object = dict[str, Any]

REVISION = "deployment.kubernetes.io/revision"


class Patience(Enum):
    """How long a symptom may last before it is a failure."""

    NONE = "at once"
    RESTARTS = "after some restarts"
    GRACE = "after a grace period"


@dataclass(frozen=True)
class Policy:
    """How patient a judgement is.

    Attributes:
        restarts: restarts of one container of the new revision that count as a crash loop.
        grace: how long what may heal by itself (scheduling, volumes, a busy registry) may last.
        deadline: how long the whole rollout may take without being done.
        stability: how long every container must have run before the rollout counts as done; a
            container that was restarted must have run three times as long.
    """

    restarts: int = 3
    grace: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(minutes=10)
    stability: timedelta = timedelta(seconds=10)


@dataclass(frozen=True)
class Rule:
    """One row of the failure table.

    Attributes:
        cause: the failure in a few words, as it is told.
        reasons: the API's reasons that show it.
        patience: how long it may last.
        advice: what to do about it.
        message: if given, must be found in the symptom's message.
    """

    cause: str
    reasons: frozenset[str]
    patience: Patience
    advice: str
    message: re.Pattern[str] | None = None


def _rule(cause: str, reasons: str, patience: Patience, advice: str, message: str = "") -> Rule:
    pattern = re.compile(message, re.IGNORECASE) if message else None
    return Rule(cause, frozenset(reasons.split()), patience, advice, pattern)


# Reasons: kubelet's container states (pkg/kubelet/images/types.go, kuberuntime), the scheduler's
# PodScheduled condition, the controllers' conditions and events. Order matters: the first rule
# that fits a symptom is its rule, and of several failures the one highest up is told.
RULES: tuple[Rule, ...] = (
    _rule(
        "the image name is invalid",
        "InvalidImageName",
        Patience.NONE,
        "check `registry` in invoke.yaml",
    ),
    _rule(
        "the registry is busy or out of reach",
        "ErrImagePull ImagePullBackOff",
        Patience.GRACE,
        "look at the registry and at the nodes' network, then deploy again",
        r"timeout|deadline exceeded|connection re|no such host|EOF|TLS handshake|429|"
        r"too ?many ?requests|5\d\d (internal|bad gateway|service|gateway)",
    ),
    _rule(
        "the image cannot be pulled",
        "ErrImagePull ImagePullBackOff ErrImageNeverPull ImageInspectError RegistryUnavailable",
        Patience.NONE,
        "run `inv build`, and check that the nodes may pull from the registry",
    ),
    _rule(
        "a Secret, a ConfigMap or one of its keys is missing",
        "CreateContainerConfigError",
        Patience.NONE,
        "create it, or correct its name in the values",
    ),
    _rule(
        "a Secret or a ConfigMap to be mounted is missing",
        "FailedMount",
        Patience.NONE,
        "create it, or correct its name in the values",
        r"(secret|configmap) \S+ not found|references non-existent (secret|config) key",
    ),
    _rule(
        "the command cannot be started",
        "RunContainerError CreateContainerError StartError ContainerCannotRun",
        Patience.NONE,
        "check command and arguments against the image",
        r"executable file not found|no such file or directory|permission denied|exec format",
    ),
    _rule(
        "the container cannot be created",
        "RunContainerError CreateContainerError StartError ContainerCannotRun",
        Patience.GRACE,
        "look at the node's container runtime",
    ),
    _rule(
        "refused by a quota",
        "FailedCreate ReplicaFailure",
        Patience.NONE,
        "raise the namespace's quota or lower replicas and resources",
        r"exceeded quota|failed quota|maximum .* usage per|minimum .* usage per",
    ),
    _rule(
        "refused by admission",
        "FailedCreate ReplicaFailure",
        Patience.NONE,
        "make the pod comply, or ask who set the policy",
        r"forbidden|denied the request|violates|is invalid",
    ),
    _rule(
        "the Job failed",
        "BackoffLimitExceeded DeadlineExceeded PodFailurePolicy FailedIndexes",
        Patience.NONE,
        "read the Job's logs among the evidence",
    ),
    _rule(
        "the container ran out of memory",
        "OOMKilled",
        Patience.RESTARTS,
        "raise its memory limit",
    ),
    _rule(
        "the container keeps crashing",
        "CrashLoopBackOff Error Completed ContainerStatusUnknown",
        Patience.RESTARTS,
        "read its previous logs among the evidence",
    ),
    _rule(
        "a volume is not bound",
        "Unschedulable",
        Patience.GRACE,
        "check the storage class and the claims",
        r"persistentvolumeclaim",
    ),
    _rule(
        "no node can take the pod",
        "Unschedulable",
        Patience.GRACE,
        "add nodes, or lower the resources it asks for",
    ),
    _rule(
        "a volume cannot be provided",
        "ProvisioningFailed FailedBinding FailedMount FailedAttachVolume",
        Patience.GRACE,
        "check the storage class and its driver",
    ),
    _rule(
        "the pod was evicted or killed",
        "Evicted NodeLost Preempting Terminated",
        Patience.GRACE,
        "look at the node's health",
    ),
    _rule(
        "objects cannot be created",
        "FailedCreate ReplicaFailure",
        Patience.GRACE,
        "read the controller's message",
    ),
    _rule(
        "the rollout made no progress",
        "ProgressDeadlineExceeded",
        Patience.NONE,
        "read the events among the evidence",
    ),
)


@dataclass(frozen=True)
class Symptom:
    """Something the API reports that may have a rule.

    Attributes:
        reason: the API's reason.
        subject: the object, and the container if it is one, e.g. ``pod/web-1 container fpm``.
        message: the API's message.
        since: when it began, by the cluster's clock, or None when that is not reported.
        restarts: how often the container was restarted.
    """

    reason: str
    subject: str
    message: str = ""
    since: datetime | None = None
    restarts: int = 0


@dataclass(frozen=True)
class Cause:
    """Why a rollout is doomed."""

    rule: Rule
    symptom: Symptom

    def line(self) -> str:
        """Return the cause in one line: what failed, on which object, in whose words."""
        message = " ".join(self.symptom.message.split())
        words = f": {message}" if message else ""
        return f"{self.symptom.subject}: {self.rule.cause} ({self.symptom.reason}{words})"


@dataclass(frozen=True)
class Row:
    """How far one workload is.

    Attributes:
        workload: e.g. ``deployment/web``.
        desired: pods it should have.
        updated: pods of the new revision it has.
        ready: of these, the ready ones.
        note: what it is waiting for, in a few words.
    """

    workload: str
    desired: int
    updated: int
    ready: int
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a rollout at one moment: done, doomed (``cause``), or neither."""

    done: bool
    cause: Cause | None
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Snapshot:
    """The release's objects as the API reports them at one moment."""

    deployments: Sequence[Object] = ()
    statefulsets: Sequence[Object] = ()
    replicasets: Sequence[Object] = ()
    jobs: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    events: Sequence[Object] = field(default=())


def judge(snapshot: Snapshot, *, started: datetime, now: datetime, policy: Policy) -> Verdict:
    """Return what is to be said of a rollout.

    Args:
        snapshot: the release's objects.
        started: when the rollout began, by the cluster's clock.
        now: the cluster's present time.
        policy: how patient to be.
    """
    pods = new_pods(snapshot)
    rows = tuple(_rows(snapshot, pods))
    failures = sorted(
        (
            (RULES.index(rule), symptom.subject, Cause(rule, symptom))
            for symptom in symptoms(snapshot, pods)
            if (rule := rule_for(symptom)) and _is_over(rule, symptom, started, now, policy)
        ),
        key=lambda failure: failure[:2],
    )
    if failures:
        return Verdict(done=False, cause=failures[0][2], rows=rows)
    complete = all(_is_complete(workload) for workload in _workloads(snapshot)) and all(
        _condition(job, "Complete") for job in snapshot.jobs
    )
    settled = complete and all(_is_settled(pod, now, policy) for pod in pods)
    if not settled and now - started > policy.deadline:
        return Verdict(done=False, cause=_late(rows, started, policy), rows=rows)
    return Verdict(done=settled, cause=None, rows=rows)


def rule_for(symptom: Symptom) -> Rule | None:
    """Return the first rule of the table that fits a symptom, or None when it is benign."""
    for rule in RULES:
        if symptom.reason in rule.reasons and (
            rule.message is None or rule.message.search(symptom.message)
        ):
            return rule
    return None


def new_pods(snapshot: Snapshot) -> list[Object]:
    """Return the pods that count: those of each workload's newest revision, and of its Jobs."""
    owners = {_uid(job) for job in snapshot.jobs}
    for deployment in snapshot.deployments:
        revision = _annotations(deployment).get(REVISION)
        owners |= {
            _uid(replicaset)
            for replicaset in snapshot.replicasets
            if _owner(replicaset) == _uid(deployment)
            and _annotations(replicaset).get(REVISION) == revision
            and _is_observed(deployment)
        }
    revisions = {
        (_uid(stateful), stateful.get("status", {}).get("updateRevision"))
        for stateful in snapshot.statefulsets
    }
    return [
        pod
        for pod in snapshot.pods
        if "deletionTimestamp" not in pod["metadata"]
        and (
            _owner(pod) in owners
            or (_owner(pod), _labels(pod).get("controller-revision-hash")) in revisions
        )
    ]


def symptoms(snapshot: Snapshot, pods: Sequence[Object]) -> Iterator[Symptom]:
    """Yield everything in the snapshot that may have a rule.

    Args:
        snapshot: the release's objects.
        pods: the pods that count.
    """
    for pod in pods:
        yield from _of_pod(pod)
    for workload in (*snapshot.deployments, *snapshot.statefulsets):
        if _is_observed(workload):
            yield from _of_conditions(workload, "ReplicaFailure", "True")
            yield from _of_conditions(workload, "Progressing", "False")
    for job in snapshot.jobs:
        yield from _of_conditions(job, "Failed", "True")
    counted = {_uid(pod) for pod in pods if not _condition(pod, "Ready")}
    counted |= {_uid(owner) for owner in (*snapshot.statefulsets, *snapshot.jobs)}
    for event in snapshot.events:
        subject = event.get("involvedObject", {})
        if event.get("type") == "Warning" and (
            subject.get("uid") in counted or subject.get("kind") == "PersistentVolumeClaim"
        ):
            yield Symptom(
                event.get("reason", ""),
                f"{subject.get('kind', '').lower()}/{subject.get('name')}",
                event.get("message") or "",
                time_of(event.get("firstTimestamp") or event.get("eventTime")),
            )


def time_of(value: str | None) -> datetime | None:
    """Return an API time stamp (RFC 3339) as a datetime, or None."""
    return datetime.fromisoformat(value) if value else None


def _of_pod(pod: Object) -> Iterator[Symptom]:
    status = pod.get("status", {})
    name = f"pod/{pod['metadata']['name']}"
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield Symptom(
                condition.get("reason", ""),
                name,
                condition.get("message", ""),
                time_of(condition.get("lastTransitionTime")),
            )
    if status.get("phase") == "Failed" and status.get("reason"):
        since = time_of(status.get("startTime"))
        yield Symptom(status["reason"], name, status.get("message", ""), since)
    began = time_of(status.get("startTime") or pod["metadata"].get("creationTimestamp"))
    for kind, field_name in (
        ("init container", "initContainerStatuses"),
        ("container", "containerStatuses"),
    ):
        for container in status.get(field_name, []):
            subject = f"{name} {kind} {container['name']}"
            restarts = container.get("restartCount", 0)
            waiting = container.get("state", {}).get("waiting")
            # A container that is terminated now, or was before it was restarted.
            ended = container.get("state", {}).get("terminated") or container.get(
                "lastState", {}
            ).get("terminated")
            crashed = ended and (ended.get("exitCode") != 0 or restarts > 0)
            if waiting and waiting.get("reason") != "CrashLoopBackOff":
                yield Symptom(
                    waiting.get("reason", ""), subject, waiting.get("message", ""), began, restarts
                )
            if crashed:
                message = ended.get("message") or f"exit code {ended.get('exitCode')}"
                reason = ended.get("reason") or "Error"
                yield Symptom(reason, subject, message, began, restarts)


def _of_conditions(owner: Object, kind: str, status: str) -> Iterator[Symptom]:
    for condition in owner.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == status:
            yield Symptom(
                condition.get("reason", ""),
                f"{owner.get('kind', 'object').lower()}/{owner['metadata']['name']}",
                condition.get("message", ""),
                time_of(condition.get("lastTransitionTime")),
            )


def _is_over(
    rule: Rule, symptom: Symptom, started: datetime, now: datetime, policy: Policy
) -> bool:
    """Say whether a symptom has used up the patience its rule has with it."""
    if rule.patience is Patience.RESTARTS:
        return symptom.restarts >= policy.restarts
    if rule.patience is Patience.GRACE:
        # What lay there before this rollout began gets its whole grace again.
        since = max(symptom.since, started) if symptom.since else started
        return now - since > policy.grace
    return True


def _late(rows: Sequence[Row], started: datetime, policy: Policy) -> Cause:
    waiting = next((row for row in rows if row.ready < row.desired or row.note), None)
    subject = waiting.workload if waiting else "the release"
    note = waiting.note if waiting and waiting.note else "is not ready"
    message = f"{note} after {policy.deadline.total_seconds():.0f} s"
    late = next(rule for rule in RULES if "ProgressDeadlineExceeded" in rule.reasons)
    return Cause(late, Symptom("deadline", subject, message, started))


def _rows(snapshot: Snapshot, pods: Sequence[Object]) -> Iterator[Row]:
    for workload in _workloads(snapshot):
        status = workload.get("status", {})
        owned = {_uid(rs) for rs in snapshot.replicasets if _owner(rs) == _uid(workload)}
        owned.add(_uid(workload))
        mine = [pod for pod in pods if _owner(pod) in owned]
        yield Row(
            f"{workload.get('kind', 'object').lower()}/{workload['metadata']['name']}",
            workload.get("spec", {}).get("replicas", 1),
            status.get("updatedReplicas", 0) if _is_observed(workload) else 0,
            sum(_condition(pod, "Ready") for pod in mine),
            next(filter(None, (_note(pod) for pod in mine)), ""),
        )
    for job in snapshot.jobs:
        done = _condition(job, "Complete")
        mine = [pod for pod in pods if _owner(pod) == _uid(job)]
        note = "" if done else next(filter(None, (_note(pod) for pod in mine)), "")
        active = job.get("status", {}).get("active", 0)
        yield Row(f"job/{job['metadata']['name']}", 1, active + done, int(done), note)


def _note(pod: Object) -> str:
    """Return what a pod waits for, in the API's words."""
    for symptom in _of_pod(pod):
        return symptom.reason
    for container in pod.get("status", {}).get("containerStatuses", []):
        if container.get("state", {}).get("running") and not container.get("ready"):
            return f"{container['name']} is not ready"
    return ""


def _workloads(snapshot: Snapshot) -> tuple[Object, ...]:
    return (*snapshot.deployments, *snapshot.statefulsets)


def _is_observed(workload: Object) -> bool:
    generation = int(workload["metadata"].get("generation", 0))
    return int(workload.get("status", {}).get("observedGeneration", 0)) >= generation


def _is_complete(workload: Object) -> bool:
    """Say whether a workload runs its new revision alone, every pod of it available.

    The rule of ``kubectl rollout status`` (polymorphichelpers/rollout_status.go).
    """
    wanted = workload.get("spec", {}).get("replicas", 1)
    status = workload.get("status", {})
    return (
        _is_observed(workload)
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )


def _is_settled(pod: Object, now: datetime, policy: Policy) -> bool:
    """Say whether every container of a pod has run for the stability window, or ended well."""
    if pod.get("status", {}).get("phase") == "Succeeded":
        return True
    for container in pod.get("status", {}).get("containerStatuses", []):
        running = container.get("state", {}).get("running")
        window = policy.stability * (3 if container.get("restartCount", 0) else 1)
        since = time_of(running.get("startedAt")) if running else None
        if since is None or now - since < window:
            return False
    return True


def _condition(owner: Object, kind: str) -> bool:
    return any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in owner.get("status", {}).get("conditions", [])
    )


def _uid(owner: Object) -> str:
    return str(owner["metadata"].get("uid", ""))


def _owner(owned: Object) -> str:
    """Return the uid of an object's controller."""
    for reference in owned["metadata"].get("ownerReferences", []):
        if reference.get("controller"):
            return str(reference["uid"])
    return ""


def _labels(owner: Object) -> dict[str, str]:
    return owner["metadata"].get("labels") or {}


def _annotations(owner: Object) -> dict[str, str]:
    return owner["metadata"].get("annotations") or {}
