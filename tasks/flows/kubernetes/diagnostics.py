"""Keeping what a failed rollout leaves behind, before a rollback takes it away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.manifests import INSTANCE
from tasks.core.kubernetes.objects import (
    Object,
    event_subject,
    has_condition,
    init_statuses,
    last_seen,
    main_statuses,
    times_seen,
)
from tasks.core.redact import MASK, Redactor

KINDS = ("Deployment", "ReplicaSet", "StatefulSet", "Job", "CronJob", "PersistentVolumeClaim")
"""Described in a file per kind; pods have one each, and their logs beside it."""
MAX_PODS = 40
MAX_EVENTS = 2000
LOG_LINES = 2000
LOG_BYTES = 512 * 1024
"""How much of one log is kept, its end: 2000 lines may be long ones."""
AT_ONCE = 8
MISSING = "missing.txt"

T = TypeVar("T")

_SECRET_NAME = re.compile(
    r"PASS|SECRET|TOKEN|CREDENTIAL|DSN|PRIVATE|(^|_)(API|ACCESS)?_?KEY$", re.IGNORECASE
)
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def save(
    cluster: Cluster, namespace: str, release: str, directory: Path, redactor: Redactor
) -> list[Path]:
    """Write a release's events, descriptions and logs into a directory.

    A piece that cannot be had never fails the run: ``missing.txt`` names it and says why.

    Args:
        directory: where to write; made if need be.
        redactor: masks the secrets this process knows; values of variables that are named like
            secrets are masked besides.

    Returns:
        The files, in order.

    Raises:
        OSError: the directory cannot be written.
    """
    keeper = _Keeper(directory, redactor)
    selector = f"{INSTANCE}={release}"
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def find(kind: str, chosen: str) -> list[Object]:
            return keeper.ask(f"{kind} objects", lambda: cluster.find(kind, namespace, chosen), [])

        events = pool.submit(find, "Event", "")
        pods = pool.submit(find, "Pod", selector)
        others = {kind: pool.submit(find, kind, selector) for kind in KINDS}
        chosen = sorted(pods.result(), key=_is_well)
        for pod in chosen[MAX_PODS:]:
            keeper.lack(f"pod/{pod['metadata']['name']}", f"only {MAX_PODS} pods are kept")
        logs = [
            (pod, container, previous)
            for pod in chosen[:MAX_PODS]
            for container in _containers(pod)
            for previous in (False, True)
        ]

        def fetch(wanted: tuple[Object, Object, bool]) -> str | None:
            pod, container, previous = wanted
            name = pod["metadata"]["name"]
            before = previous and container.get("restartCount", 0) > 0
            if previous and not before:
                return None
            what = f"pod/{name} container {container['name']}{' previous' * previous} log"
            unknown: str | None = ""
            log = keeper.ask(
                what,
                lambda: cluster.logs(
                    namespace, name, container["name"], previous=previous, tail=LOG_LINES
                ),
                unknown,
            )
            if log is None:
                keeper.lack(what, f"there is none: the container is {_state(container)}")
            return log

        fetched = list(pool.map(fetch, logs))
        keeper.write("events.txt", "\n".join(_lines(events.result())))
        for kind in KINDS:
            if found := others[kind].result():
                keeper.describe(f"{kind.lower()}s.yaml", found)
    for pod in chosen[:MAX_PODS]:
        keeper.describe(f"pods/{pod['metadata']['name']}.yaml", [pod])
    for (pod, container, previous), log in zip(logs, fetched, strict=True):
        if log:
            suffix = ".previous.log" if previous else ".log"
            name = f"logs/{pod['metadata']['name']}.{container['name']}{suffix}"
            keeper.write(name, _end(log))
    keeper.close()
    return keeper.files


class _Keeper:
    """Writes the pieces, redacted, and remembers those that could not be had."""

    def __init__(self, directory: Path, redactor: Redactor) -> None:
        self._directory = directory
        self._redactor = redactor
        self._missing: list[str] = []
        self.files: list[Path] = []

    def ask(self, what: str, question: Callable[[], T], otherwise: T) -> T:
        """Return the cluster's answer, or something else when there is none."""
        try:
            return question()
        except ClusterError as error:
            self.lack(what, error.message)
            return otherwise

    def lack(self, what: str, why: str) -> None:
        """Remember a piece that could not be had."""
        self._missing.append(f"{what}: {why}")

    def describe(self, name: str, objects: Iterable[Object]) -> None:
        """Write objects as YAML."""
        import yaml

        clean = [_clean(each, self._redactor) for each in objects]
        # No line is folded: a secret in two parts would not be recognised.
        text = yaml.safe_dump_all(clean, sort_keys=False, allow_unicode=True, width=10**9)
        self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self._directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._redactor(text).rstrip("\n") + "\n")
        self.files.append(path)

    def close(self) -> None:
        """Write down what is missing."""
        if self._missing:
            self.write(MISSING, "\n".join(sorted(self._missing)))


def _clean(value: Any, redactor: Redactor) -> Any:
    """Return a part of an object without noise, and without the values of secrets."""
    if isinstance(value, dict):
        if "value" in value and _SECRET_NAME.search(str(value.get("name", ""))):
            value = {**value, "value": MASK}
        return {
            key: _clean(item, redactor)
            for key, item in value.items()
            if key not in {"managedFields", _LAST_APPLIED}
        }
    if isinstance(value, list):
        return [_clean(item, redactor) for item in value]
    return redactor(value) if isinstance(value, str) else value


def _lines(events: Sequence[Object]) -> list[str]:
    """Return events as lines, the oldest first."""
    lines = []
    for event in sorted(events, key=last_seen)[-MAX_EVENTS:]:
        about = event.get("involvedObject", {})
        count = times_seen(event)
        times = f" (x{count})" if count > 1 else ""
        part = f" {about['fieldPath']}" if about.get("fieldPath") else ""
        lines.append(
            f"{last_seen(event):%Y-%m-%dT%H:%M:%SZ} {event.get('type', ''):<7} "
            f"{event_subject(event)}{part} "
            f"{event.get('reason', '')}{times}: {' '.join((event.get('message') or '').split())}"
        )
    return lines


def _containers(pod: Object) -> list[Object]:
    """Return the statuses of all containers, or their names alone where there is none yet."""
    spec = pod.get("spec", {})
    return [
        *(init_statuses(pod) or spec.get("initContainers", [])),
        *(main_statuses(pod) or spec.get("containers", [])),
    ]


def _is_well(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") == "Succeeded" or has_condition(pod, "Ready")


def _state(container: Object) -> str:
    for state, detail in container.get("state", {}).items():
        return f"{state} ({detail['reason']})" if detail.get("reason") else str(state)
    return "not started"


def _end(log: str) -> str:
    raw = log.encode()
    if len(raw) <= LOG_BYTES:
        return log
    return f"[… the first {len(raw) - LOG_BYTES} bytes are left out]\n" + raw[-LOG_BYTES:].decode(
        errors="replace"
    )
