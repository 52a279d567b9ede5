"""Finds out what started containers wait for: by their own messages, or by their probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from tasks.core.images.wait_messages import DATABASE, ContainerMessages, WaitMessage
from tasks.core.images.wait_messages import last_message as last_words
from tasks.core.kubernetes import probes
from tasks.core.kubernetes.failures import Symptom
from tasks.core.kubernetes.objects import (
    CLOCK_STEP,
    Object,
    container_spec,
    controller_uid,
    find_condition,
    init_statuses,
    is_running,
    last_seen,
    latest_end,
    main_statuses,
    parse_time,
    uid_of,
)
from tasks.core.kubernetes.snapshot import Snapshot, is_by_job

LINE_LENGTH = 300
"""How much of the last line of a container's log is shown."""
KILL_SECONDS = 10
"""How much longer than its grace period a container may take to exit after a failed probe."""


def with_probe_answer(
    symptom: Symptom, pod: Object, container: Object, snapshot: Snapshot
) -> Symptom:
    """Return a crash with the probe's answer instead of the exit code, if a probe caused it."""
    when = parse_time(latest_end(container).get("finishedAt"))
    grace = pod.get("spec", {}).get("terminationGracePeriodSeconds", 30) + KILL_SECONDS
    name, mine = container["name"], snapshot.events_about(pod)
    for event in mine:
        killed = event.get("reason") == "Killing" and probes.parse_killing(
            event.get("message") or ""
        )
        if not killed or killed[0] != name or when is None:
            continue
        if not -CLOCK_STEP <= when - last_seen(event) <= timedelta(seconds=grace):
            continue
        answers = [each for each in mine if _is_answer(each, name, killed[1])]
        words = f"{killed[1]} probe"
        if answers:
            words = probes.describe_answer(_newest(answers)["message"], container_spec(pod, name))
        return replace(symptom, reason="Killing", message=words)
    return symptom


def wait_symptoms(pod: Object, snapshot: Snapshot, now: datetime) -> Iterator[Symptom]:
    """Yield what started containers wait for: by their own messages, or by their probes."""
    name = f"pod/{pod['metadata']['name']}"
    starting, ready_since = _own_database(snapshot)
    for kind, containers in (
        ("init container", init_statuses(pod)),
        ("container", main_statuses(pod)),
    ):
        for container in containers:
            subject = f"{name} {kind} {container['name']}"
            words, since = wait_message(pod, container, snapshot)
            running = container.get("state", {}).get("running")
            if words:
                if words.code.startswith(DATABASE) and not words.final:
                    if starting:
                        continue
                    since = max(filter(None, (since, ready_since)), default=None)
                yield Symptom(words.code, subject, words.sentence, since, final=words.final)
            elif running and kind == "init container":
                spec = container_spec(pod, container["name"])
                if spec.get("restartPolicy") != "Always":  # a sidecar never ends
                    message = _silence(pod, container, snapshot, now)
                    yield Symptom("ContainersNotInitialized", subject, message)
            elif running and not container.get("ready") and not is_by_job(pod):
                words_ = probe_answer(pod, container, snapshot)
                yield Symptom("Unhealthy", subject, words_, parse_time(running.get("startedAt")))


def wait_message(
    pod: Object, container: Object, snapshot: Snapshot
) -> tuple[WaitMessage | None, datetime | None]:
    """Return a container's message, and since when, if it still waits or has given up."""
    said = snapshot.said.get((uid_of(pod), container["name"]), ContainerMessages())
    if is_running(container):
        return said.words, said.since
    ended = latest_end(container)
    if not ended.get("exitCode"):
        return None, None
    words = last_words(ended.get("message") or "") or said.words
    return (words, parse_time(ended.get("finishedAt"))) if words and words.final else (None, None)


def _silence(pod: Object, container: Object, snapshot: Snapshot, now: datetime) -> str:
    began = parse_time(container["state"]["running"].get("startedAt"))
    length = f"it has run for {(now - began).total_seconds():.0f} s" if began else "it runs"
    said = snapshot.said.get((uid_of(pod), container["name"]), ContainerMessages())
    line = f"; its last line: {said.line.strip()[:LINE_LENGTH]}" if said.line else ""
    return length + line


def probe_answer(pod: Object, container: Object, snapshot: Snapshot) -> str:
    """Return the last answer to the probe of a container that is not ready."""
    spec = container_spec(pod, container["name"])
    started = container["state"]["running"].get("startedAt") or ""
    since = parse_time(started) or datetime.min.replace(tzinfo=UTC)
    answers = [
        event
        for event in snapshot.events_about(pod)
        if _is_answer(event, container["name"]) and last_seen(event) >= since
    ]
    if not answers:
        return probes.describe_unanswered(spec, started=container.get("started", True))
    return probes.describe_answer(_newest(answers).get("message") or "", spec)


def _own_database(snapshot: Snapshot) -> tuple[bool, datetime | None]:
    """Return whether the release's own database is starting, and since when it has been ready."""
    since = []
    for stateful in snapshot.databases:
        wanted = stateful.get("spec", {}).get("replicas", 1)
        if stateful.get("status", {}).get("readyReplicas", 0) < wanted:
            return True, None
        since += [
            parse_time(condition.get("lastTransitionTime"))
            for pod in snapshot.pods
            if controller_uid(pod) == uid_of(stateful)
            and (condition := find_condition(pod, "Ready"))
        ]
    return False, max(filter(None, since), default=None)


def _is_answer(event: Object, container: str, kind: str = "") -> bool:
    """Return True if an event is about a failed probe of a container."""
    path = event["involvedObject"].get("fieldPath") or ""
    return (
        event.get("reason") == "Unhealthy"
        and path.endswith(f"{{{container}}}")
        and (not kind or probes.is_failure_of(event.get("message") or "", kind))
    )


def _newest(events: Sequence[Object]) -> Object:
    return max(events, key=lambda event: (last_seen(event), event.get("message") or ""))
