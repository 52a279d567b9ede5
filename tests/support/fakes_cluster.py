"""Fakes of a cluster and of Helm with one release: objects in memory, and recorded requests."""

from __future__ import annotations

import contextlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from gzip import compress
from pathlib import Path
from typing import Any

from tasks.adapters.terminal.console import Activity
from tasks.core.errors import ClusterError
from tasks.core.kubernetes.record import record_of
from tasks.core.redact import Redactor
from tasks.core.settings import parse
from tasks.flows.kubernetes.context import ClusterContext
from tests.support.fakes import NAMES, Calls

RELEASE, NAMESPACE = NAMES.release, NAMES.namespace
_REQUIREMENT = re.compile(r"([\w./-]+)(?:=([^,]*)| in \(([^)]*)\))")


@dataclass
class FakeCluster(Calls):
    """Keeps objects by kind, namespace and name; deleted objects are gone at once.

    Attributes:
        forbidden: what this user may not do, e.g. ``create Secret``; ``*`` for what it may not do
            everywhere.
        unserved: kinds that the cluster does not know.
        asked: the questions in order; ``seen`` has only what changes something.
    """

    objects: dict[tuple[str, str | None, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    forbidden: Collection[str] = ()
    unserved: Collection[str] = ()

    def put(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        labels: dict[str, str] | None = None,
        **meta: Any,
    ) -> None:
        """Add an object."""
        known = {"name": name, "namespace": namespace, "uid": f"uid of {name}"}
        metadata = {**known, "labels": labels or {}, **meta}
        self.objects[kind, namespace, name] = {"kind": kind, "metadata": metadata}

    def keep(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Add an object by its manifest, or replace it."""
        meta = manifest["metadata"]
        known = {"uid": f"uid of {meta['name']}", "labels": {}}
        version = {"resourceVersion": str(len(self.seen))}
        kept = {**manifest, "metadata": {**known, **meta, **version}}
        self.objects[manifest["kind"], meta.get("namespace"), meta["name"]] = kept
        return kept

    def apply(self, manifest: dict[str, Any]) -> dict[str, Any]:
        record = record_of(manifest)
        state = f": {record.state}" if record else ""
        kind, meta = manifest["kind"], manifest["metadata"]
        self.note(f"apply {kind} {meta['name']}{state}")
        there = self.objects.get((kind, meta.get("namespace"), meta["name"]), {"metadata": {}})
        return self.keep({**there, **manifest, "metadata": {**there["metadata"], **meta}})

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.note(f"create {manifest['kind']} {manifest['metadata']['name']}")
        return self.keep(manifest)

    def patch(self, kind: str, name: str, namespace: str | None, changes: dict[str, Any]) -> None:
        """Change an object, if there is one, as a merge patch does."""
        said = changes.get("metadata", {}).get("annotations", {})
        shown = {**changes.get("spec", {}), **{key.partition("/")[2]: said[key] for key in said}}
        told = ", ".join(f"{key} {value}" for key, value in shown.items())
        self.note(f"patch {kind} {name}: {told}")
        if found := self.objects.get((kind, namespace, name)):
            found["spec"] = {**found.get("spec", {}), **changes.get("spec", {})}
            merged = {**(found["metadata"].get("annotations") or {}), **said}
            kept = {key: value for key, value in merged.items() if value is not None}
            found["metadata"]["annotations"] = kept

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        self.asked.append(f"get {kind} {name}")
        found = self.objects.get((kind, namespace, name))
        if found and "deletionTimestamp" in found["metadata"]:
            # It has gone since it was listed.
            self.note(f"wait for {kind} {name}")
            del self.objects[kind, namespace, name]
            return None
        return found

    def find(
        self,
        kind: str,
        namespace: str | None = None,
        selector: str = "",
        *,
        metadata_only: bool = False,
    ) -> list[dict[str, Any]]:
        self.asked.append(f"find {kind}")
        if kind in self.unserved:
            raise ClusterError(f"there is no kind {kind}", status=404)
        wanted = {
            key: {value} if value else set(values.split(","))
            for key, value, values in _REQUIREMENT.findall(selector)
        }
        return [
            item
            for (own, place, _), item in self.objects.items()
            if (own, place) == (kind, namespace)
            and all(item["metadata"]["labels"].get(key) in wanted[key] for key in wanted)
        ]

    def find_all(
        self, kind: str, selector: str = "", *, fields: str = "", metadata_only: bool = False
    ) -> list[dict[str, Any]]:
        self.asked.append(f"find all {kind}")
        if f"list {kind}" in self.forbidden:
            raise ClusterError(f"you may not list {kind}", status=403)
        return [item for (own, _, _), item in self.objects.items() if own == kind]

    def output(
        self, namespace: str, pod: str, container: str, argv: Sequence[str]
    ) -> tuple[int, bytes]:
        """Run a command in a container: it answers what the pod's annotation says."""
        self.asked.append(f"run {' '.join(argv)} in {namespace}")
        said = self.objects["Pod", namespace, pod]["metadata"].get("annotations", {})
        return (0, said["answer"].encode()) if "answer" in said else (64, b"")

    def pipe(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        """Write into a container: what, and into which, is seen."""
        self.note(f"{pod} {container}: {b''.join(source).decode()}")
        return 0

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        propagation: str = "Background",
        grace_seconds: int | None = None,
        uid: str = "",
    ) -> bool:
        self.note(f"delete {kind} {name}")
        if kind == "PersistentVolumeClaim" and (found := self.objects.get((kind, namespace, name))):
            # Kubernetes keeps it until no pod uses it.
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            return True
        return self.objects.pop((kind, namespace, name), None) is not None

    def namespaced_kinds(self, api: str) -> frozenset[str]:
        return frozenset({"ConfigMap", "Secret"} if api == "v1" else ())

    def may(self, verb: str, kind: str, namespace: str | None = None) -> bool:
        self.asked.append(f"may {verb} {kind}")
        return f"{verb} {kind}" not in self.forbidden


@dataclass
class FakeHelm(Calls):
    """Keeps the revisions of one release as Helm does: each a Secret with its number and status.

    Attributes:
        values: those of the last upgrade. One that fails leaves no revision.
        rendered: what the chart renders.
    """

    cluster: FakeCluster = field(default_factory=FakeCluster)
    rendered: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def record(self, *statuses: str) -> None:
        """Let the release have revisions of these statuses, the oldest first."""
        for number, status in enumerate(statuses, 1):
            self._put(number, status)

    def render(self, *_: object, **__: object) -> str:
        self.note("check the values")
        return self.rendered

    def upgrade(
        self, release: str, namespace: str, chart: Path, values: Mapping[str, Any], **_: object
    ) -> None:
        self.values = values
        self.note("upgrade")
        self._deploy()

    def rollback(
        self, release: str, namespace: str, revision: int, *, timeout_seconds: int
    ) -> None:
        self.note(f"rollback {revision}")
        self._deploy()

    @property
    def revisions(self) -> dict[int, str]:
        """The status of each revision."""
        found = self.cluster.find("Secret", NAMESPACE, "owner=helm")
        labels = [item["metadata"]["labels"] for item in found]
        return {int(each["version"]): each["status"] for each in labels}

    def _deploy(self) -> None:
        there = self.revisions
        for number, status in there.items():
            if status == "deployed":
                self._put(number, "superseded")
        self._put(max(there, default=0) + 1, "deployed")

    def _put(self, number: int, status: str) -> None:
        labels = {"owner": "helm", "name": RELEASE, "version": str(number), "status": status}
        self.cluster.put("Secret", _stored(number), NAMESPACE, labels=labels)
        packed = b64encode(compress(json.dumps({"info": {"status": status}}).encode()))
        kept = self.cluster.objects["Secret", NAMESPACE, _stored(number)]
        kept["data"] = {"release": b64encode(packed).decode()}


def _stored(number: int) -> str:
    return f"sh.helm.release.v1.{RELEASE}.v{number}"


def a_cluster_context(
    cluster: FakeCluster, helm: FakeHelm, root: Path, /, *, php: str = "8.4", **own: Any
) -> tuple[ClusterContext, list[str]]:
    """Return the context of an environment in a fake cluster, and the titles of its work.

    Args:
        root: a checkout with the chart.
        php: the images' version of PHP.
        own: the environment's settings.
    """
    titles: list[str] = []

    @contextlib.contextmanager
    def work(title: str) -> Iterator[Activity]:
        titles.append(title)
        yield Activity(titles.append, lambda _: None)

    local: Mapping[str, Any] = {
        "target": "kubernetes",
        "branches": ["*"],
        "host": "{slug}.localhost",
        "registry": {"url": "registry.example.org/x"},
        "cluster": {"name": "fake"},
        **own,
    }
    data = {"project": "mautic", "images": {"php": php}, "environments": {"local": local}}
    context = ClusterContext(
        settings=parse(data, lambda path: "test"),
        environment="local",
        cluster=cluster,  # type: ignore[arg-type]
        helm=helm,  # type: ignore[arg-type]
        root=root,
        work=work,
        redactor=Redactor(),
    )
    return context, titles
