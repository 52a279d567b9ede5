"""Is this rollout doomed, still on its way, or done? A pure judgement over what the API reports.

``failures.RULES`` says which symptom means what, and how much patience it deserves. What has no
rule there is never named as a cause: a probe that failed once, a node without cluster DNS or a
slow volume is shown, but does not end a deploy. Only pods of the *new* revision count, and what
was already wrong when the rollout began gets a grace period to heal: a deploy that changes
nothing in the cluster may be the very one that repairs what was missing. What the images' own
programs say while they wait (``core.words``) counts like what the API reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasks.core.failures import RULES, Cause, Patience, Rule, Symptom, rule_for
from tasks.core.manifests import Object
from tasks.core.snapshot import (
    CLOCK_STEP,
    Snapshot,
    annotations_of,
    holds,
    labels_of,
    last_seen,
    owner_uid,
    time_of,
    uid_of,
)
from tasks.core.waits import LINE_LENGTH, by_probe, is_by_job, probe_of, waits_of, words_of

REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Policy:
    """How patient a judgement is.

    Attributes:
        crashes: how often one container of the new revision must have ended, since the rollout
            began, for a crash loop. By the kubelet's back-off the third time comes after about
            14 s, the fourth after about 35 s.
        grace: how long what may heal by itself (scheduling, volumes, a busy registry) may last.
        deadline: how long the whole rollout may take without being done. A migration that works
            has its Job's own deadline, and this one begins when it is done.
        stability: how long every container must have run before the rollout counts as done; a
            container that was restarted must have run three times as long.
    """

    crashes: int = 3
    grace: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(minutes=10)
    stability: timedelta = timedelta(seconds=10)


CLAIM = "persistentvolumeclaim"
START_ERRORS = frozenset({"StartError", "ContainerCannotRun"})
"""How a container ends that never began. One that runs now has got over it."""
STUCK = next(rule for rule in RULES if "ProgressDeadlineExceeded" in rule.reasons)
"""The row of what has no better name when the deadline passes."""


@dataclass(frozen=True)
class Row:
    """How far one workload is.

    Attributes:
        workload: e.g. ``deployment/web``.
        desired: pods it should have.
        updated: pods of the new revision it has.
        ready: of these, the ready ones.
        complete: whether it has all it should have, and nothing of an old revision.
        note: what it is waiting for, in a few words.
        began: when its new revision was made.
    """

    workload: str
    desired: int
    updated: int
    ready: int
    complete: bool
    note: str = ""
    began: datetime | None = None


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a rollout at one moment: done, doomed (``cause``), or neither."""

    done: bool
    cause: Cause | None
    rows: tuple[Row, ...]


def judge(snapshot: Snapshot, *, started: datetime, now: datetime, policy: Policy) -> Verdict:
    """Return what is to be said of a rollout.

    A release without any workload is never done: whoever asked has the wrong name.

    Args:
        snapshot: the release's objects.
        started: when the rollout began, by the cluster's clock.
        now: the cluster's present time.
        policy: how patient to be.
    """
    pods = new_pods(snapshot)
    rows = tuple(_rows(snapshot, pods))
    found = list(symptoms(snapshot, pods, started, now))
    # A Deployment's own deadline names nothing: what does is told in its place.
    late = _is_late(snapshot, pods, started, now, policy)
    explained = late or any(symptom.reason in STUCK.reasons for symptom in found)
    failures = sorted(
        (
            (RULES.index(rule), symptom.subject, Cause(rule, symptom))
            for symptom in found
            if (rule := rule_for(symptom))
            and _is_over(rule, symptom, started, now, policy, late=explained)
        ),
        key=lambda failure: failure[:2],
    )
    if failures:
        return Verdict(done=False, cause=failures[0][2], rows=rows)
    complete = bool(rows) and all(row.complete for row in rows)
    settled = complete and all(_is_settled(pod, now, policy) for pod in pods)
    if not settled and late:
        return Verdict(done=False, cause=_late(rows, started, policy), rows=rows)
    return Verdict(done=settled, cause=None, rows=rows)


def new_pods(snapshot: Snapshot) -> list[Object]:
    """Return the pods that count: those of each workload's newest revision, and of its Jobs."""
    owners = {uid_of(owner) for owner in (*snapshot.jobs, *new_replicasets(snapshot))}
    revisions = {
        (uid_of(stateful), stateful.get("status", {}).get("updateRevision"))
        for stateful in snapshot.statefulsets
        if _is_observed(stateful)
    }
    return [
        pod
        for pod in snapshot.pods
        if "deletionTimestamp" not in pod["metadata"]
        and (
            owner_uid(pod) in owners
            or (owner_uid(pod), labels_of(pod).get("controller-revision-hash")) in revisions
        )
    ]


def new_replicasets(snapshot: Snapshot) -> list[Object]:
    """Return the ReplicaSet of each Deployment's newest revision, where there is one yet."""
    revisions = {
        (uid_of(deployment), annotations_of(deployment).get(REVISION))
        for deployment in snapshot.deployments
        if _is_observed(deployment)
    }
    return [
        replicaset
        for replicaset in snapshot.replicasets
        if (owner_uid(replicaset), annotations_of(replicaset).get(REVISION)) in revisions
    ]


def symptoms(
    snapshot: Snapshot, pods: Sequence[Object], started: datetime, now: datetime
) -> Iterator[Symptom]:
    """Yield everything in the snapshot that may have a rule.

    Args:
        snapshot: the release's objects.
        pods: the pods that count.
        started: when the rollout began; events that ended before it tell nothing of it.
        now: the cluster's present time.
    """
    served = {
        uid_of(owner)
        for owner in (*new_replicasets(snapshot), *snapshot.statefulsets)
        if owner.get("status", {}).get("readyReplicas", 0) >= owner["spec"].get("replicas", 1)
    }
    for pod in pods:
        # An evicted pod stays in the list after another one has taken its place.
        if pod.get("status", {}).get("phase") != "Failed" or owner_uid(pod) not in served:
            words = _last_warning(pod, snapshot)
            for symptom in (*_of_pod(pod, snapshot), *waits_of(pod, snapshot, now)):
                unbound = symptom.reason == "Unschedulable" and CLAIM in symptom.message.lower()
                yield replace(symptom, message=symptom.message + words) if unbound else symptom
    for replicaset in new_replicasets(snapshot):
        yield from _of_conditions(replicaset, "ReplicaFailure", "True")
    for workload in _workloads(snapshot):
        if _is_observed(workload):
            yield from _of_conditions(workload, "Progressing", "False")
    for job in snapshot.jobs:
        words = _last_words(job, pods)
        # The target is set when the limit is reached, the failure when all pods have ended.
        for kind in ("FailureTarget", "Failed"):
            for symptom in _of_conditions(job, kind, "True"):
                yield replace(symptom, message=symptom.message + words)
    affected = lacking(snapshot, pods)
    for event in snapshot.events:
        subject = event.get("involvedObject", {})
        if (
            event.get("type") == "Warning"
            and subject.get("uid") in affected
            and last_seen(event) > started - CLOCK_STEP
        ):
            yield Symptom(
                event.get("reason", ""),
                f"{subject.get('kind', '').lower()}/{subject.get('name')}",
                event.get("message") or "",
                time_of(event.get("firstTimestamp") or event.get("eventTime")),
            )


def lacking(snapshot: Snapshot, pods: Sequence[Object]) -> set[str]:
    """Return the uids of what still lacks something: only of these do events tell the present.

    An event is kept for an hour, healed or not. A pod whose containers have started has all its
    volumes; an owner with all its pods has been allowed to create them.
    """
    starting = [pod for pod in pods if not _has_started(pod)]
    return {
        uid_of(owner)
        for owner in (
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
                if not job.get("status", {}).get("active") and not holds(job, "Complete")
            ),
        )
    }


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


def _last_warning(pod: Object, snapshot: Snapshot) -> str:
    """Return why the claims that a pod waits for are not bound, to be added to its message."""
    claims = {uid_of(claim) for claim in _unbound(pod, snapshot)}
    warnings = [
        event
        for event in snapshot.events
        if event.get("type") == "Warning" and event.get("involvedObject", {}).get("uid") in claims
    ]
    if not warnings:
        return ""
    newest = max(warnings, key=lambda event: (last_seen(event), event["metadata"].get("name", "")))
    name = newest["involvedObject"].get("name")
    return f"; {CLAIM}/{name}: {newest.get('reason', '')}: {newest.get('message') or ''}"


def _has_started(pod: Object) -> bool:
    return any(
        "waiting" not in container.get("state", {}) or container.get("lastState")
        for field_name in ("initContainerStatuses", "containerStatuses")
        for container in pod.get("status", {}).get(field_name, [])
    )


def _of_pod(pod: Object, snapshot: Snapshot) -> Iterator[Symptom]:
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
        # One that was evicted had run until then; one that its node refused has no containers.
        ends = [
            container.get("state", {}).get("terminated", {}).get("finishedAt") or ""
            for container in status.get("containerStatuses", [])
        ]
        since = time_of(max([status.get("startTime") or "", *ends]) or None)
        yield Symptom(status["reason"], name, status.get("message", ""), since)
    began = status.get("startTime") or pod["metadata"].get("creationTimestamp")
    ready_since = next(
        (
            condition.get("lastTransitionTime")
            for condition in status.get("conditions", [])
            if condition["type"] == "Initialized" and condition["status"] == "True"
        ),
        None,
    )
    for kind, field_name, since in (
        ("init container", "initContainerStatuses", began),
        ("container", "containerStatuses", ready_since or began),
    ):
        for container in status.get(field_name, []):
            before = snapshot.earlier.get((uid_of(pod), container["name"]), 0)
            subject = f"{name} {kind} {container['name']}"
            for symptom in _of_container(subject, container, since, before):
                yield by_probe(symptom, pod, container, snapshot) if symptom.crashes else symptom


def _of_container(
    subject: str, container: Object, began: str | None, earlier: int
) -> Iterator[Symptom]:
    restarts = container.get("restartCount", 0) - earlier
    state = container.get("state", {})
    waiting = state.get("waiting")
    # A container that is terminated now, or was before it was restarted.
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    since = time_of(max(began or "", ended.get("finishedAt") or "") or None)
    if waiting and waiting.get("reason") != "CrashLoopBackOff":
        yield Symptom(waiting.get("reason", ""), subject, waiting.get("message", ""), since)
    reason = ended.get("reason") or "Error"
    if not ended or ("running" in state and reason in START_ERRORS):
        return
    if ended.get("exitCode") != 0 or restarts > 0:
        words = ended.get("message") if reason in START_ERRORS else ""
        # The end that is not yet followed by a restart counts as well.
        crashes = restarts + ("running" not in state)
        yield Symptom(reason, subject, words or _end(ended), since, crashes)


def _end(ended: Object) -> str:
    """Return how a container ended: its exit code, and the last line of what it said of it."""
    lines = (ended.get("message") or "").split("\n")
    line = next((line.strip() for line in reversed(lines) if line.strip()), "")
    words = f": {line[:LINE_LENGTH]}" if line else ""
    return f"exit code {ended.get('exitCode')}{words}"


def _last_words(job: Object, pods: Sequence[Object]) -> str:
    """Return how the newest failed container of a Job ended, to be added to the Job's message."""
    ends = [
        (
            ended.get("finishedAt") or "",
            f"; pod/{pod['metadata']['name']} container {container['name']} ended with "
            f"{_end(ended)}",
        )
        for pod in pods
        if owner_uid(pod) == uid_of(job)
        for field_name in ("initContainerStatuses", "containerStatuses")
        for container in pod.get("status", {}).get(field_name, [])
        if (ended := container.get("state", {}).get("terminated")) and ended.get("exitCode")
    ]
    return max(ends, default=("", ""))[1]


def _of_conditions(owner: Object, kind: str, status: str) -> Iterator[Symptom]:
    for condition in owner.get("status", {}).get("conditions", []):
        if condition["type"] == kind and condition["status"] == status:
            yield Symptom(
                condition.get("reason", ""),
                f"{owner.get('kind', 'object').lower()}/{owner['metadata']['name']}",
                condition.get("message", ""),
                time_of(condition.get("lastTransitionTime")),
            )


def _is_late(
    snapshot: Snapshot, pods: Sequence[Object], started: datetime, now: datetime, policy: Policy
) -> bool:
    """Return True if the deadline has passed; a Job that works has its own before."""
    due = [started + policy.deadline]
    for job in snapshot.jobs:
        status = job.get("status", {})
        begun, limit = time_of(status.get("startTime")), job["spec"].get("activeDeadlineSeconds")
        if holds(job, "Complete"):
            ended = time_of(status.get("completionTime"))
            due += [ended + policy.deadline] if ended else []
        elif begun and limit and _works(job, pods, snapshot):
            # The cluster ends it then, and says so.
            due.append(begun + timedelta(seconds=limit) + policy.grace)
    return now > max(due)


def _works(job: Object, pods: Sequence[Object], snapshot: Snapshot) -> bool:
    """Return True if a Job's container runs and does not only wait."""
    return any(
        "running" in container.get("state", {}) and words_of(pod, container, snapshot)[0] is None
        for pod in pods
        if owner_uid(pod) == uid_of(job)
        for container in pod.get("status", {}).get("containerStatuses", [])
    )


def _is_over(
    rule: Rule,
    symptom: Symptom,
    started: datetime,
    now: datetime,
    policy: Policy,
    *,
    late: bool,
) -> bool:
    """Return True if a symptom has used up the patience its rule has with it."""
    if rule.patience is Patience.CRASHES:
        return symptom.crashes >= policy.crashes
    # What lay there before this rollout began gets a whole grace.
    before = symptom.since is not None and symptom.since < started - CLOCK_STEP
    if symptom.final and not before:
        return True
    if rule.patience is Patience.DEADLINE and not symptom.final:
        return late
    if rule.patience is Patience.GRACE or before:
        since = max(symptom.since, started) if symptom.since else started
        return now - since > policy.grace
    return True


def _late(rows: Sequence[Row], started: datetime, policy: Policy) -> Cause:
    row = next((row for row in rows if not row.complete), None)
    if not rows:
        subject, message = "the release", "has no workloads"
    elif row is None:
        subject, message = "the release", "its containers do not stay up"
    else:
        subject = row.workload
        message = row.note or f"{row.ready} of {row.desired} are ready"
    message += f", {policy.deadline.total_seconds():.0f} s after the rollout began"
    return Cause(STUCK, Symptom("deadline", subject, message, started))


def _rows(snapshot: Snapshot, pods: Sequence[Object]) -> Iterator[Row]:
    newest = new_replicasets(snapshot)
    for workload in _workloads(snapshot):
        mine = [rs for rs in newest if owner_uid(rs) == uid_of(workload)] or [workload]
        owners = {uid_of(owner) for owner in mine}
        members = [pod for pod in pods if owner_uid(pod) in owners]
        status = workload.get("status", {})
        desired = workload.get("spec", {}).get("replicas", 1)
        ready = sum(holds(pod, "Ready") for pod in members)
        yield Row(
            f"{workload.get('kind', 'object').lower()}/{workload['metadata']['name']}",
            desired,
            status.get("updatedReplicas", 0) if _is_observed(workload) else 0,
            ready,
            # The pods themselves must be known, too: their watch may lag behind.
            _is_complete(workload) and ready >= desired,
            next(filter(None, (_note(pod, snapshot) for pod in members)), ""),
            time_of(mine[0]["metadata"].get("creationTimestamp")),
        )
    for job in snapshot.jobs:
        done = holds(job, "Complete")
        members = [pod for pod in pods if owner_uid(pod) == uid_of(job)]
        notes = [_note(pod, snapshot) for pod in members] or ["it has no pod yet"]
        yield Row(
            f"job/{job['metadata']['name']}",
            1,
            job.get("status", {}).get("active", 0) + done,
            int(done),
            done,
            "" if done else next(filter(None, notes), ""),
            time_of(job["metadata"].get("creationTimestamp")),
        )


def _note(pod: Object, snapshot: Snapshot) -> str:
    """Return what a pod waits for, in its own words or in the API's."""
    status = pod.get("status", {})
    for field_name in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(field_name, []):
            words, _ = words_of(pod, container, snapshot)
            if words:
                return f"{container['name']} waits: {words.sentence[:LINE_LENGTH]}"
    if holds(pod, "Ready"):
        return ""
    for symptom in _of_pod(pod, snapshot):
        return symptom.reason
    for container in status.get("containerStatuses", []):
        if container.get("state", {}).get("running") and not container.get("ready"):
            answer = "" if is_by_job(pod) else probe_of(pod, container, snapshot)
            words_ = answer.partition(" probe: ")[2]
            return f"{container['name']} is not ready{f': {words_}' if words_ else ''}"
    return ""


def _workloads(snapshot: Snapshot) -> tuple[Object, ...]:
    return (*snapshot.deployments, *snapshot.statefulsets)


def _is_observed(workload: Object) -> bool:
    generation = int(workload["metadata"].get("generation", 0))
    return int(workload.get("status", {}).get("observedGeneration", 0)) >= generation


def _is_complete(workload: Object) -> bool:
    """Return True if a workload runs its new revision alone, every pod of it available.

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
    """Return True if every container of a pod has run for the stability window.

    A pod that has ended is replaced by its owner, whose numbers tell whether that worked.
    """
    if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return True
    for container in pod.get("status", {}).get("containerStatuses", []):
        running = container.get("state", {}).get("running")
        window = policy.stability * (3 if container.get("restartCount", 0) else 1)
        since = time_of(running.get("startedAt")) if running else None
        # The time stamp may be so much too early.
        if since is None or now - since < window + CLOCK_STEP:
            return False
    return True
