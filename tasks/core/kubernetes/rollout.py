"""Judges by the API's reports whether a rollout is done, doomed, or still on its way.

``failures.RULES`` maps symptoms to causes, and says how much patience each gets. A symptom without
a rule is never a cause: a probe that failed once, a node without cluster DNS or a slow volume is
shown, but does not end a deploy. Only pods of the *new* revision count. Faults from before the
rollout get a grace period to heal: a deploy that changes nothing in the cluster may be the one that
repairs them. Messages of the images' waiting programs (``core.images.wait_messages``) count like
reports of the API.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.core.kubernetes.failures import RULES, Cause, Patience, Rule, Symptom, rule_for
from tasks.core.kubernetes.objects import (
    CLOCK_STEP,
    Object,
    controller_uid,
    has_condition,
    is_running,
    main_statuses,
    parse_time,
    uid_of,
)
from tasks.core.kubernetes.progress import WorkloadProgress, progress
from tasks.core.kubernetes.snapshot import Snapshot, new_pods
from tasks.core.kubernetes.symptoms import symptoms
from tasks.core.kubernetes.waits import wait_message


@dataclass(frozen=True)
class Policy:
    """How patient a judgement is.

    Attributes:
        crashes: how often a container of the new revision must have exited since the rollout began
            to count as a crash loop. With the kubelet's back-off the third exit comes after about
            14 s, the fourth after about 35 s.
        grace: how long faults may last that can heal by themselves (scheduling, volumes, a busy
            registry).
        deadline: how long the rollout may take. It starts after the migration, which has its Job's
            own deadline.
        stability: how long every container must have run before the rollout counts as done; three
            times as long if it was restarted.
    """

    crashes: int = 3
    grace: timedelta = timedelta(seconds=60)
    deadline: timedelta = timedelta(minutes=10)
    stability: timedelta = timedelta(seconds=10)


STUCK = next(rule for rule in RULES if "ProgressDeadlineExceeded" in rule.reasons)
"""The rule for a rollout that reaches the deadline without a better explanation."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of a rollout at one moment: done, doomed (``cause``), or neither."""

    done: bool
    cause: Cause | None
    rows: tuple[WorkloadProgress, ...]


def judge(snapshot: Snapshot, *, started: datetime, now: datetime, policy: Policy) -> Verdict:
    """Return whether a rollout is done, doomed or neither.

    A release without any workload is never done: its name must be wrong.

    Args:
        started: when the rollout began, by the cluster's clock.
        now: the cluster's present time.
        policy: how patient to be.
    """
    pods = new_pods(snapshot)
    rows = tuple(progress(snapshot, pods))
    late = _is_late(snapshot, pods, started, now, policy)
    found = list(symptoms(snapshot, pods, started, now))
    # A Deployment's own deadline names no cause, so another symptom is reported instead.
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


def _is_over(
    rule: Rule,
    symptom: Symptom,
    started: datetime,
    now: datetime,
    policy: Policy,
    *,
    late: bool,
) -> bool:
    """Return True if a symptom has lasted longer than its rule's patience."""
    if rule.patience is Patience.CRASHES:
        return symptom.crashes >= policy.crashes
    # A symptom from before this rollout gets the full grace period.
    before = symptom.since is not None and symptom.since < started - CLOCK_STEP
    if symptom.final and not before:
        return True
    if rule.patience is Patience.DEADLINE and not symptom.final:
        return late
    if rule.patience is Patience.GRACE or before:
        since = max(symptom.since, started) if symptom.since else started
        return now - since > policy.grace
    return True


def _is_settled(pod: Object, now: datetime, policy: Policy) -> bool:
    """Return True if every container of a pod has run for the stability window.

    An ended pod is replaced by its owner, whose status counts instead.
    """
    if pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return True
    for container in main_statuses(pod):
        running = container.get("state", {}).get("running")
        window = policy.stability * (3 if container.get("restartCount", 0) else 1)
        since = parse_time(running.get("startedAt")) if running else None
        # The timestamp may be too early by this much.
        if since is None or now - since < window + CLOCK_STEP:
            return False
    return True


# -- the deadline ---------------------------------------------------------------------------------


def _is_late(
    snapshot: Snapshot, pods: Sequence[Object], started: datetime, now: datetime, policy: Policy
) -> bool:
    """Return True if the deadline has passed; it starts after a running Job's own deadline."""
    due = [started + policy.deadline]
    for job in snapshot.jobs:
        status = job.get("status", {})
        begun, limit = parse_time(status.get("startTime")), job["spec"].get("activeDeadlineSeconds")
        if has_condition(job, "Complete"):
            ended = parse_time(status.get("completionTime"))
            due += [ended + policy.deadline] if ended else []
        elif begun and limit and _works(job, pods, snapshot):
            # The cluster ends the Job at that time, and reports it.
            due.append(begun + timedelta(seconds=limit) + policy.grace)
    return now > max(due)


def _works(job: Object, pods: Sequence[Object], snapshot: Snapshot) -> bool:
    """Return True if a Job's container runs and is not just waiting."""
    return any(
        is_running(container) and wait_message(pod, container, snapshot)[0] is None
        for pod in pods
        if controller_uid(pod) == uid_of(job)
        for container in main_statuses(pod)
    )


def _late(rows: Sequence[WorkloadProgress], started: datetime, policy: Policy) -> Cause:
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
