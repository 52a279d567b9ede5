"""Saves diagnostics of a failed rollout before the rollback removes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.display import readable
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
    title_of,
)
from tasks.core.redact import MASK, Redactor

KINDS = ("Deployment", "ReplicaSet", "StatefulSet", "Job", "CronJob", "PersistentVolumeClaim")
"""Kinds with one file each; every pod has a file of its own, besides its logs."""
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


def save_diagnostics(
    cluster: Cluster, namespace: str, release: str, directory: Path, redactor: Redactor
) -> list[Path]:
    """Write a release's events, descriptions and logs into a directory.

    A part that cannot be fetched is no error: ``missing.txt`` names it and the reason.

    Args:
        directory: created if missing.
        redactor: masks known secrets; values of variables that are named like secrets are masked as
            well.

    Returns:
        The files, in order.

    Raises:
        OSError: the directory cannot be written.
    """
    keeper = _Keeper(directory, redactor)
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def find(kind: str, selector: str = f"{INSTANCE}={release}") -> Future[list[Object]]:
            question = partial(cluster.find, kind, namespace, selector)
            return pool.submit(keeper.ask, f"{kind} objects", question, [])

        events, pods = find("Event", ""), find("Pod")
        others = {kind: find(kind) for kind in KINDS}
        chosen = sorted(pods.result(), key=_is_well)
        for pod in chosen[MAX_PODS:]:
            keeper.lack(title_of(pod), f"only {MAX_PODS} pods are kept")
        logs = [log for pod in chosen[:MAX_PODS] for log in _logs(pod)]
        fetched = list(pool.map(partial(_fetch, cluster, keeper), logs))
        keeper.write("events.txt", "\n".join(_lines(events.result())))
        for kind in KINDS:
            if found := others[kind].result():
                keeper.describe(f"{kind.lower()}s.yaml", found)
    for pod in chosen[:MAX_PODS]:
        keeper.describe(f"pods/{pod['metadata']['name']}.yaml", [pod])
    for log, text in zip(logs, fetched, strict=True):
        if text:
            keeper.write(log.file, _end(text))
    keeper.close()
    return keeper.files


@dataclass(frozen=True)
class _Log:
    """One log that is kept."""

    pod: Object
    container: Object
    previous: bool

    @property
    def file(self) -> str:
        suffix = ".previous.log" if self.previous else ".log"
        return f"logs/{self.pod['metadata']['name']}.{self.container['name']}{suffix}"

    def __str__(self) -> str:
        previous = " previous" if self.previous else ""
        return f"{title_of(self.pod)} container {self.container['name']}{previous} log"


def _logs(pod: Object) -> Iterator[_Log]:
    """Yield the logs of a pod's containers, and of their previous runs."""
    for container in _containers(pod):
        yield _Log(pod, container, previous=False)
        if container.get("restartCount", 0) > 0:
            yield _Log(pod, container, previous=True)


def _fetch(cluster: Cluster, keeper: _Keeper, log: _Log) -> str | None:
    """Return the end of a log, or note why there is none."""
    meta = log.pod["metadata"]
    unknown: str | None = ""
    text = keeper.ask(
        str(log),
        lambda: cluster.logs(
            meta["namespace"],
            meta["name"],
            log.container["name"],
            previous=log.previous,
            tail=LOG_LINES,
        ),
        unknown,
    )
    if text is None:
        keeper.lack(str(log), f"there is none: the container is {_state(log.container)}")
    return text


class _Keeper:
    """Writes the files, redacted, and remembers the parts that could not be fetched."""

    def __init__(self, directory: Path, redactor: Redactor) -> None:
        self._directory = directory
        self._redactor = redactor
        self._missing: list[str] = []
        self.files: list[Path] = []

    def ask(self, what: str, question: Callable[[], T], otherwise: T) -> T:
        """Return the cluster's answer, or a default if the request fails."""
        try:
            return question()
        except ClusterError as error:
            self.lack(what, error.message)
            return otherwise

    def lack(self, what: str, why: str) -> None:
        """Remember a part that could not be fetched."""
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
        shown = self._redactor(readable(self._redactor(text)))
        path.write_text(shown.rstrip("\n") + "\n")
        self.files.append(path)

    def close(self) -> None:
        """Write the list of missing parts."""
        if self._missing:
            self.write(MISSING, "\n".join(sorted(self._missing)))


def _clean(value: Any, redactor: Redactor) -> Any:
    """Return a part of an object without managed fields, and with secrets masked."""
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
