"""What containers wait for that have started: by their own words, or by their probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.core import probes
from tasks.core.failures import Symptom
from tasks.core.manifests import Object
from tasks.core.snapshot import (
    CLOCK_STEP,
    Snapshot,
    events_of,
    last_seen,
    owner_uid,
    spec_of,
    time_of,
    uid_of,
)
from tasks.core.words import DATABASE, Said, Words
from tasks.core.words import last as last_words

LINE_LENGTH = 300
"""How much of the last line of a container's log is told."""
KILL_SECONDS = 10
"""How much longer than its own grace a container may take to end that a probe has doomed."""


def by_probe(symptom: Symptom, pod: Object, container: Object, snapshot: Snapshot) -> Symptom:
    """Return a crash with the probe's answer in place of the exit code, if a probe ended it."""
    ended = container.get("state", {}).get("terminated") or container["lastState"]["terminated"]
    when = time_of(ended.get("finishedAt"))
    grace = pod.get("spec", {}).get("terminationGracePeriodSeconds", 30) + KILL_SECONDS
    name, mine = container["name"], events_of(pod, snapshot)
    for event in mine:
        killed = event.get("reason") == "Killing" and probes.killed(event.get("message") or "")
        if not killed or killed[0] != name or when is None:
            continue
        if not -CLOCK_STEP <= when - last_seen(event) <= timedelta(seconds=grace):
            continue
        answers = [each for each in mine if _is_answer(each, name, killed[1])]
        words = f"{killed[1]} probe"
        if answers:
            words = probes.answer(_newest(answers)["message"], spec_of(pod, name))
        return replace(symptom, reason="Killing", message=words)
    return symptom


def waits_of(pod: Object, snapshot: Snapshot, now: datetime) -> Iterator[Symptom]:
    """Yield what containers wait for that have started: by their own words, or by their probes."""
    status, name = pod.get("status", {}), f"pod/{pod['metadata']['name']}"
    starting, ready_since = _own_database(snapshot)
    for kind, field_name in (
        ("init container", "initContainerStatuses"),
        ("container", "containerStatuses"),
    ):
        for container in status.get(field_name, []):
            subject = f"{name} {kind} {container['name']}"
            words, since = words_of(pod, container, snapshot)
            running = container.get("state", {}).get("running")
            if words:
                if words.code.startswith(DATABASE) and not words.final:
                    if starting:
                        continue
                    since = max(filter(None, (since, ready_since)), default=None)
                yield Symptom(words.code, subject, words.sentence, since, final=words.final)
            elif running and kind == "init container":
                spec = spec_of(pod, container["name"])
                if spec.get("restartPolicy") != "Always":  # a sidecar never ends
                    message = _silence(pod, container, snapshot, now)
                    yield Symptom("ContainersNotInitialized", subject, message)
            elif running and not container.get("ready") and not is_by_job(pod):
                words_ = probe_of(pod, container, snapshot)
                yield Symptom("Unhealthy", subject, words_, time_of(running.get("startedAt")))


def words_of(
    pod: Object, container: Object, snapshot: Snapshot
) -> tuple[Words | None, datetime | None]:
    """Return a container's own words of waiting, if it still waits or has given up."""
    state = container.get("state", {})
    said = snapshot.said.get((uid_of(pod), container["name"]), Said())
    if "running" in state:
        return said.words, said.since
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated") or {}
    if not ended.get("exitCode"):
        return None, None
    words = last_words(ended.get("message") or "") or said.words
    return (words, time_of(ended.get("finishedAt"))) if words and words.final else (None, None)


def _silence(pod: Object, container: Object, snapshot: Snapshot, now: datetime) -> str:
    began = time_of(container["state"]["running"].get("startedAt"))
    length = f"it has run for {(now - began).total_seconds():.0f} s" if began else "it runs"
    said = snapshot.said.get((uid_of(pod), container["name"]), Said())
    line = f"; its last line: {said.line.strip()[:LINE_LENGTH]}" if said.line else ""
    return length + line


def probe_of(pod: Object, container: Object, snapshot: Snapshot) -> str:
    """Return what the probe of a container that is not ready got last."""
    spec = spec_of(pod, container["name"])
    started = container["state"]["running"].get("startedAt") or ""
    since = time_of(started) or datetime.min.replace(tzinfo=UTC)
    answers = [
        event
        for event in events_of(pod, snapshot)
        if _is_answer(event, container["name"]) and last_seen(event) >= since
    ]
    if not answers:
        return probes.unanswered(spec, started=container.get("started", True))
    return probes.answer(_newest(answers).get("message") or "", spec)


def _own_database(snapshot: Snapshot) -> tuple[bool, datetime | None]:
    """Return whether the release's own database is still starting, and since when it is ready."""
    since = []
    for stateful in snapshot.databases:
        wanted = stateful.get("spec", {}).get("replicas", 1)
        if stateful.get("status", {}).get("readyReplicas", 0) < wanted:
            return True, None
        since += [
            time_of(condition.get("lastTransitionTime"))
            for pod in snapshot.pods
            if owner_uid(pod) == uid_of(stateful)
            for condition in pod.get("status", {}).get("conditions", [])
            if condition["type"] == "Ready"
        ]
    return False, max(filter(None, since), default=None)


def _is_answer(event: Object, container: str, kind: str = "") -> bool:
    """Return True if an event tells of a failed probe of a container."""
    path = event["involvedObject"].get("fieldPath") or ""
    return (
        event.get("reason") == "Unhealthy"
        and path.endswith(f"{{{container}}}")
        and (not kind or probes.is_of(event.get("message") or "", kind))
    )


def _newest(events: Sequence[Object]) -> Object:
    return max(events, key=lambda event: (last_seen(event), event.get("message") or ""))


def is_by_job(pod: Object) -> bool:
    """Return True if a pod is a Job's: it ends, and no probe asks whether it is ready."""
    return bool(pod.get("spec", {}).get("restartPolicy", "Always") != "Always")
