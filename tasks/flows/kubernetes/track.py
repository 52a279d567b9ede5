"""Watching a rollout: until it is done, doomed or given up on, telling what happens meanwhile."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from tasks.adapters.cluster import Cluster
from tasks.adapters.console import Activity
from tasks.adapters.kubeapi import Object
from tasks.core.errors import ClusterError
from tasks.core.rollout import (
    CLOCK_STEP,
    Policy,
    Row,
    Snapshot,
    Verdict,
    judge,
    last_seen,
    new_pods,
    new_replicasets,
)
from tasks.flows.kubernetes.mirror import Mirror

POLL_SECONDS = 0.1
"""How soon it is noticed that all was applied, or that the tracking is to be given up."""
JUDGE_SECONDS = 0.2
"""How often a rollout is judged at least: patience runs out without anything changing."""
LOG_LINES = 20
"""How much of a failed container's log is shown; the evidence holds more."""
FLUSH_SECONDS = 0.5
"""How long the verdict waits for log lines that are under way."""
MESSAGE_LENGTH = 300


def track(
    cluster: Cluster,
    namespace: str,
    release: str,
    *,
    since: datetime,
    policy: Policy,
    activity: Activity,
    hooks: bool = True,
    applied: Callable[[], bool] = lambda: True,
    abort: Callable[[], bool] = lambda: False,
) -> Verdict:
    """Watch a release roll out.

    May be called while the manifests are still being applied: a hook Job that fails is told then,
    too, but nothing is done before everything is applied.

    Args:
        cluster: the cluster.
        namespace: the release's namespace.
        release: the release's name; its objects bear it as app.kubernetes.io/instance.
        since: when the rollout began, by the cluster's clock.
        policy: how patient to be.
        activity: told what happens.
        hooks: whether this rollout runs hooks; a rollback runs none, and the hook that made it
            necessary is no concern of it.
        applied: says whether all manifests have been applied.
        abort: says whether to give up.

    Returns:
        A verdict that is done, or has a cause; or neither when it was given up.

    Raises:
        ClusterError: the API refused to be watched, or was away for longer than the patience.
    """
    verdict = Verdict(done=False, cause=None, rows=())
    complete = False
    judged = 0.0
    with Mirror(cluster, namespace, release, since, hooks=hooks) as mirror:
        reporter = _Reporter(cluster, namespace, since, activity)
        try:
            while not abort():
                changed = mirror.wait(POLL_SECONDS)
                if not complete and applied():
                    mirror.catch_up()
                    complete = changed = True
                if not mirror.is_whole():
                    continue
                if not changed and time.monotonic() - judged < JUDGE_SECONDS:
                    continue
                judged = time.monotonic()
                now = cluster.now()
                snapshot = mirror.snapshot(applied=complete)
                verdict = judge(snapshot, started=since, now=now, policy=policy)
                reporter.show(snapshot, verdict.rows, now)
                if verdict.cause or (verdict.done and complete):
                    return verdict
            return Verdict(done=False, cause=None, rows=verdict.rows)
        finally:
            reporter.close()


class _Reporter:
    """Tells what changed from one snapshot to the next."""

    def __init__(
        self, cluster: Cluster, namespace: str, since: datetime, activity: Activity
    ) -> None:
        self._since = since
        self._activity = activity
        self._told: dict[str, str] = {}
        self._warned: dict[tuple[str, str, str], tuple[str, int]] = {}
        self._logs = _Logs(cluster, namespace, activity.say)

    def show(self, snapshot: Snapshot, rows: Sequence[Row], now: datetime) -> None:
        """Tell what is new."""
        homes = _homes(snapshot)
        self._warn(snapshot, homes)
        if self._activity.panel:
            self._activity.panel(_table(rows, _latest(snapshot, homes, self._since), now))
        else:
            for row in rows:
                note = f", {row.note}" if row.note else ""
                text = f"{row.updated}/{row.desired} updated, {row.ready} ready{note}"
                if self._told.get(row.workload) != text:
                    self._told[row.workload] = text
                    self._activity.say(f"{row.workload}: {text}")
        self._logs.look(new_pods(snapshot), homes)

    def close(self) -> None:
        """Tell how often each warning came, and end."""
        self._logs.close()
        for text, count in self._warned.values():
            if count > 1:
                self._activity.say(f"{text} (x{count})")

    def _warn(self, snapshot: Snapshot, homes: Mapping[str, str]) -> None:
        counts: dict[tuple[str, str, str], tuple[str, int]] = {}
        for event in snapshot.events:
            about = event.get("involvedObject", {})
            home = homes.get(about.get("uid", ""))
            if event.get("type") != "Warning" or home is None or self._is_old(event):
                continue
            # Replicas say the same of themselves: it is told once.
            reason, message = event.get("reason", ""), event.get("message") or ""
            anyone = message.replace(about.get("name", ""), "*").replace(about.get("uid", ""), "*")
            words = " ".join(message.split())[:MESSAGE_LENGTH]
            subject = f"{about.get('kind', '').lower()}/{about.get('name')}"
            key = (home, reason, anyone)
            text, count = counts.get(key, (f"! {subject}: {reason}: {words}", 0))
            series = (event.get("series") or {}).get("count")
            counts[key] = (text, count + (series or event.get("count") or 1))
        for key, (text, count) in counts.items():
            if key not in self._warned:
                self._activity.say(text)
            told = self._warned.get(key, (text, 0))
            self._warned[key] = (told[0], max(told[1], count))

    def _is_old(self, event: Object) -> bool:
        return last_seen(event) <= self._since - CLOCK_STEP


class _Logs:
    """Shows the end of the log of each container that failed, from a thread of its own."""

    def __init__(self, cluster: Cluster, namespace: str, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._say = say
        self._seen: set[tuple[str, str, int]] = set()
        self._wanted: queue.SimpleQueue[tuple[str, str, bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._fetch, daemon=True, name="logs")
        self._thread.start()

    def look(self, pods: Sequence[Object], homes: Mapping[str, str]) -> None:
        """Ask for the logs of the containers that have failed since the last look.

        Of replicas that fail alike, the log of the first one is shown.
        """
        for pod in pods:
            home = homes.get(pod["metadata"]["uid"], "")
            for name, count, running in _failed(pod):
                if (home, name, count) not in self._seen:
                    self._seen.add((home, name, count))
                    self._wanted.put((pod["metadata"]["name"], name, running))

    def close(self) -> None:
        """End, after the lines that are under way."""
        self._wanted.put(None)
        self._thread.join(FLUSH_SECONDS)

    def _fetch(self) -> None:
        while wanted := self._wanted.get():
            pod, container, running = wanted
            try:
                log = self._cluster.logs(
                    self._namespace, pod, container, previous=running, tail=LOG_LINES
                )
            except ClusterError as error:
                log = f"its log cannot be had: {error.message}"
            for line in (log or "").splitlines():
                self._say(f"pod/{pod} {container} | {line}")


def _failed(pod: Object) -> Iterator[tuple[str, int, bool]]:
    """Yield the containers that failed: name, which time it was, whether it runs again."""
    for field_name in ("initContainerStatuses", "containerStatuses"):
        for container in pod.get("status", {}).get(field_name, []):
            state = container.get("state", {})
            ended = state.get("terminated") or container.get("lastState", {}).get("terminated")
            if ended and ended.get("exitCode"):
                running = "running" in state
                number = container.get("restartCount", 0) - running
                yield container["name"], number, running


def _homes(snapshot: Snapshot) -> dict[str, str]:
    """Return the workload that each object belongs to, by uid; old pods belong to none."""
    homes = {
        owner["metadata"]["uid"]: f"{owner['kind'].lower()}/{owner['metadata']['name']}"
        for owner in (
            *snapshot.deployments,
            *snapshot.statefulsets,
            *snapshot.jobs,
            *snapshot.claims,
        )
    }
    for owned in (*new_replicasets(snapshot), *new_pods(snapshot)):
        for reference in owned["metadata"].get("ownerReferences", []):
            if reference["uid"] in homes:
                homes[owned["metadata"]["uid"]] = homes[reference["uid"]]
    return homes


def _latest(snapshot: Snapshot, homes: Mapping[str, str], since: datetime) -> dict[str, str]:
    """Return the reason of each workload's newest event."""
    newest: dict[str, tuple[datetime, str]] = {}
    for event in snapshot.events:
        home = homes.get(event.get("involvedObject", {}).get("uid", ""))
        seen = last_seen(event)
        if home and seen > since - CLOCK_STEP and seen >= newest.get(home, (seen, ""))[0]:
            newest[home] = (seen, event.get("reason", ""))
    return {home: reason for home, (_, reason) in newest.items()}


def _table(rows: Sequence[Row], latest: Mapping[str, str], now: datetime) -> list[str]:
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
