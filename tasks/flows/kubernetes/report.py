"""Reports the progress of a rollout: as a live table on a terminal, as few lines in a pipe."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.terminal.console import Activity
from tasks.core.images.wait_messages import ContainerMessages
from tasks.core.kubernetes.objects import (
    CLOCK_STEP,
    Object,
    event_subject,
    event_uid,
    has_condition,
    last_seen,
    owners_of,
    times_seen,
    title_of,
    uid_of,
)
from tasks.core.kubernetes.progress import WorkloadProgress
from tasks.core.kubernetes.rollout import Verdict
from tasks.core.kubernetes.snapshot import Snapshot, new_pods, new_replicasets
from tasks.core.kubernetes.symptoms import incomplete_objects
from tasks.flows.kubernetes.rollout_logs import RolloutLogs

MESSAGE_LENGTH = 300
HEALED_LENGTH = 120
"""How much is shown of a healed warning."""
HEALED = 5
"""How many healed warnings are shown."""
WARN_SECONDS = 15.0
"""How long a warning may last before it is shown."""
QUIET_SECONDS = 15.0
"""After how long without output a pipe gets a line about what is waited for; it then doubles."""


@dataclass
class _Warning:
    """A warning event, merged for all objects that have the same.

    Attributes:
        subject: the first object.
        reason: the event's reason.
        words: the event's message.
        since: when it was first seen here.
        heard: when it last occurred.
        homes: the affected workloads.
        objects: the affected objects.
        count: how often it occurred.
        is_told: whether it has been shown.
    """

    subject: str
    reason: str
    words: str
    since: float
    heard: float
    homes: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)
    count: int = 0
    is_told: bool = False

    def line(self) -> str:
        """Return the line that shows it."""
        times = [f"x{self.count}"] if self.count > 1 else []
        times += [f"{len(self.objects)} objects"] if len(self.objects) > 1 else []
        much = f" ({', '.join(times)})" if times else ""
        return f"! {self.subject}: {self.reason}: {self.words}{much}"


class Reporter:
    """Reports changes from one snapshot to the next.

    Args:
        cluster: has the containers' logs.
        since: when the rollout began, by the cluster's clock.
        activity: shows the lines.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, since: datetime, activity: Activity
    ) -> None:
        self._since = since
        self._activity = activity
        self._warnings: dict[tuple[str, str], _Warning] = {}
        self._begun: set[str] = set()
        self._complete: dict[str, str] = {}
        self._waiting: set[str] = set()
        self._quiet_until = time.monotonic() + QUIET_SECONDS
        self._quiet = QUIET_SECONDS
        self._logs = RolloutLogs(cluster, namespace, activity)

    def said(self) -> Mapping[tuple[str, str], ContainerMessages]:
        """Return the containers' messages so far, by pod uid and name."""
        return self._logs.said()

    def show(self, snapshot: Snapshot, rows: Sequence[WorkloadProgress], now: datetime) -> None:
        """Report what is new."""
        homes, pods = _homes(snapshot), new_pods(snapshot)
        self._note(snapshot, homes)
        self._warn_of_lasting(pods, incomplete_objects(snapshot, pods))
        if self._activity.panel:
            self._activity.panel(_table(rows, _latest(snapshot, homes, self._since), now))
        else:
            self._tell(rows)
        self._logs.look(pods, homes)

    def close(self, verdict: Verdict) -> None:
        """Report the rest, and stop.

        Args:
            verdict: the last verdict: if the rollout is done, its warnings have healed.
        """
        self._logs.close()
        self._tell_complete()
        waiting = {row.workload for row in verdict.rows if not row.complete}
        left = [each for each in self._warnings.values() if not each.is_told]
        if verdict.done:
            self._tell_healed(left)
            return
        for warning in left:
            if warning.homes & waiting or not waiting:
                self._warn(warning)

    # -- workloads ------------------------------------------------------------------------------

    def _tell(self, rows: Sequence[WorkloadProgress]) -> None:
        """Report each completed workload once, and sometimes what is waited for."""
        for row in rows:
            if not row.complete:
                self._begun.add(row.workload)
            elif row.workload in self._begun:
                self._begun.discard(row.workload)
                if row.workload not in self._complete:
                    self._complete[row.workload] = _told(row)
        waiting = ", ".join(f"{row.workload} ({_pending(row)})" for row in rows if not row.complete)
        if not waiting:
            self._tell_complete()
        elif time.monotonic() > self._quiet_until and waiting not in self._waiting:
            self._tell_complete()
            self._waiting.add(waiting)
            self._quiet *= 2
            self._activity.say(f"waiting for {waiting}")
            self._hush()

    def _tell_complete(self) -> None:
        """Report newly completed workloads in one line."""
        words = [words for words in self._complete.values() if words]
        if words:
            self._activity.note("; ".join(words))
            self._hush()
            self._complete = dict.fromkeys(self._complete, "")

    def _hush(self) -> None:
        self._quiet_until = time.monotonic() + self._quiet

    # -- warnings -------------------------------------------------------------------------------

    def _note(self, snapshot: Snapshot, homes: Mapping[str, str]) -> None:
        """Record the warnings of a snapshot."""
        counts: dict[tuple[str, str], int] = {}
        for event in snapshot.events:
            uid, name = event_uid(event), event["involvedObject"].get("name", "")
            if event.get("type") != "Warning" or uid not in homes or self._is_old(event):
                continue
            # Events of replicas, and of workloads with shared parts, are shown only once.
            reason, message = event.get("reason", ""), event.get("message") or ""
            anyone = message.replace(name, "*").replace(uid, "*")
            key = (reason, anyone)
            counts[key] = counts.get(key, 0) + times_seen(event)
            if key not in self._warnings:
                words = " ".join(message.split())[:MESSAGE_LENGTH]
                now = time.monotonic()
                self._warnings[key] = _Warning(event_subject(event), reason, words, now, now)
            warning = self._warnings[key]
            warning.homes.add(homes[uid])
            warning.objects.add(uid)
            if counts[key] > warning.count:
                warning.count, warning.heard = counts[key], time.monotonic()

    def _warn_of_lasting(self, pods: Sequence[Object], lack: set[str]) -> None:
        """Report warnings that have lasted for long."""
        now = time.monotonic()
        known = {uid_of(pod): pod for pod in pods}
        for warning in self._warnings.values():
            lasts = now - warning.since > WARN_SECONDS
            if lasts and not warning.is_told and _counts(warning, known, lack, now):
                self._warn(warning)

    def _warn(self, warning: _Warning) -> None:
        warning.is_told = True
        self._activity.say(warning.line())

    def _tell_healed(self, warnings: Sequence[_Warning]) -> None:
        words = [each.line().removeprefix("! ")[:HEALED_LENGTH] for each in warnings[:HEALED]]
        if len(warnings) > HEALED:
            words.append(f"and {len(warnings) - HEALED} more")
        if words:
            self._activity.note(f"healed meanwhile: {'; '.join(words)}")

    def _is_old(self, event: Object) -> bool:
        return last_seen(event) <= self._since - CLOCK_STEP


def _counts(warning: _Warning, pods: Mapping[str, Object], lack: set[str], now: float) -> bool:
    """Return True if a warning's reason persists."""
    comes = now - warning.heard < WARN_SECONDS
    for uid in warning.objects:
        pod = pods.get(uid)
        if pod is None:
            still = uid in lack
        elif warning.reason == "FailedScheduling":
            still = not has_condition(pod, "PodScheduled")
        else:
            still = uid in lack or (comes and not has_condition(pod, "Ready"))
        if still:
            return True
    return False


def _pending(row: WorkloadProgress) -> str:
    """Return what a workload that is not complete waits for."""
    if row.note or row.ready < row.desired:
        return row.note or f"{row.ready} of {row.desired} are ready"
    return "ready, not yet available"


def _told(row: WorkloadProgress) -> str:
    """Return the line about a complete workload."""
    if row.workload.startswith("job/"):
        return f"{row.workload}: done"
    return f"{row.workload}: {row.updated}/{row.desired} updated, {row.ready} ready"


def _homes(snapshot: Snapshot) -> dict[str, str]:
    """Return the workload of each object, by uid; pods of old revisions are left out."""
    homes = {
        uid_of(owner): title_of(owner)
        for owner in (*snapshot.workloads, *snapshot.jobs, *snapshot.claims)
    }
    for owned in (*new_replicasets(snapshot), *new_pods(snapshot)):
        for reference in owners_of(owned):
            if reference["uid"] in homes:
                homes[uid_of(owned)] = homes[reference["uid"]]
    return homes


def _latest(snapshot: Snapshot, homes: Mapping[str, str], since: datetime) -> dict[str, str]:
    """Return the reason of each workload's newest event."""
    newest: dict[str, tuple[datetime, str]] = {}
    for event in snapshot.events:
        home = homes.get(event_uid(event))
        seen = last_seen(event)
        if home and seen > since - CLOCK_STEP and seen >= newest.get(home, (seen, ""))[0]:
            newest[home] = (seen, event.get("reason", ""))
    return {home: reason for home, (_, reason) in newest.items()}


def _table(rows: Sequence[WorkloadProgress], latest: Mapping[str, str], now: datetime) -> list[str]:
    """Return the rows as lines of columns."""
    cells = [("", "desired/updated/ready", "age", "")]
    for row in rows:
        age = _age((now - row.began).total_seconds()) if row.began else ""
        numbers = f"{row.desired}/{row.updated}/{row.ready}"
        cells.append((row.workload, numbers, age, row.note or latest.get(row.workload, "")))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
