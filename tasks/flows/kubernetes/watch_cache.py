"""A watch cache: a release's objects as the watches last reported them, one thread per kind."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import Stop
from tasks.adapters.kubernetes.watch import WatchEvent
from tasks.core.kubernetes.manifests import COMPONENT, INSTANCE
from tasks.core.kubernetes.objects import (
    CLOCK_STEP,
    Object,
    container_statuses,
    controller_uid,
    created_at,
    labels_of,
    owners_of,
    uid_of,
)
from tasks.core.kubernetes.snapshot import Snapshot, new_replicasets

LABELLED = ("Deployment", "ReplicaSet", "StatefulSet", "Job", "Pod")
UNLABELLED = ("PersistentVolumeClaim", "Event")
"""Kinds watched in the whole namespace: events have no labels, and claims may have others."""
DATABASE = "mysql"
"""The component of a release's own database."""
BACKGROUND = frozenset({"worker", "cron"})
"""The components that serve no visitor."""


class WatchCache:
    """Keeps a release's objects while it is entered.

    Args:
        since: when the rollout began, by the cluster's clock.
        hooks: whether the rollout runs hooks; otherwise Jobs are ignored.
        serving: whether only components that serve visitors count.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        release: str,
        since: datetime,
        *,
        hooks: bool = True,
        serving: bool = False,
    ) -> None:
        self._hooks = hooks
        self._serving = serving
        self._cluster = cluster
        self._namespace = namespace
        self._selector = f"{INSTANCE}={release}"
        self._since = since
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, Object]] = {}
        self._ended: dict[str, int] = {}
        self._earlier: dict[tuple[str, str], int] | None = None
        self._failure: Exception | None = None
        self._stop = Stop()
        self._changed = threading.Event()

    def __enter__(self) -> WatchCache:
        for kind in (*LABELLED, *UNLABELLED):
            threading.Thread(
                target=self._watch, args=(kind,), daemon=True, name=f"watch {kind}"
            ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def wait(self, seconds: float) -> bool:
        """Wait for a change since the last call, for so many seconds at most.

        Returns:
            True if something has changed.

        Raises:
            Exception: the error that ended one of the watches.
        """
        changed = self._changed.wait(seconds)
        if changed:
            self._changed.clear()
        if self._failure:
            raise self._failure
        return changed

    def is_whole(self) -> bool:
        """Return True if every kind has been listed."""
        with self._lock:
            return len(self._objects) == len(LABELLED) + len(UNLABELLED)

    def catch_up(self) -> None:
        """Read the workloads now: their watches may lag behind."""
        for kind in ("Deployment", "StatefulSet", "Job"):
            for item in self._cluster.find(kind, self._namespace, self._selector):
                self._take(WatchEvent(kind, "MODIFIED", item))

    def snapshot(self, *, applied: bool) -> Snapshot:
        """Return the objects of the rollout, without Jobs of CronJobs and of earlier revisions.

        Args:
            applied: whether all manifests have been applied. Before that, only workloads that are
                new, or have a new ReplicaSet, belong to the new revision.
        """
        with self._lock:
            kinds = {kind: list(objects.values()) for kind, objects in self._objects.items()}
            earlier = dict(self._earlier or {})
        whole = Snapshot(
            deployments=[each for each in kinds["Deployment"] if self._serves(each)],
            statefulsets=[
                each
                for each in kinds["StatefulSet"]
                if applied or self._is_begun(each, kinds["Pod"])
            ],
            replicasets=kinds["ReplicaSet"],
            jobs=[job for job in kinds["Job"] if self._counts(job)],
            pods=kinds["Pod"],
            claims=kinds["PersistentVolumeClaim"],
            events=kinds["Event"],
            earlier=earlier,
            databases=[each for each in kinds["StatefulSet"] if _component(each) == DATABASE],
        )
        if applied:
            return whole
        begun = {
            reference["uid"]
            for replicaset in new_replicasets(whole)
            if self._is_recent(replicaset)
            for reference in owners_of(replicaset)
        }
        return replace(whole, deployments=[d for d in whole.deployments if uid_of(d) in begun])

    # -- the watches --------------------------------------------------------------------------

    def _watch(self, kind: str) -> None:
        selector = self._selector if kind in LABELLED else ""
        try:
            self._cluster.watch(
                kind, self._namespace, self._take, selector=selector, stop=self._stop
            )
        except Exception as error:  # raised again by `wait`, in its thread
            self._failure = error
            self._changed.set()

    def _take(self, change: WatchEvent) -> None:
        with self._lock:
            known = self._objects.setdefault(change.kind, {})
            if change.type == "SYNCED":
                items = change.object["items"]
                there = {uid_of(item) for item in items}
                # Objects newer than the list were read separately, by `catch_up`.
                for uid in [uid for uid in known if uid not in there]:
                    if _version(known[uid]) <= _version(change.object):
                        self._end(known, uid, change.object)
                for item in items:
                    self._keep(known, item)
                if change.kind == "Pod" and self._earlier is None:
                    self._earlier = dict(self._restarts(items))
            elif change.type == "DELETED":
                self._end(known, uid_of(change.object), change.object)
            else:
                self._keep(known, change.object)
        self._changed.set()

    def _keep(self, known: dict[str, Object], item: Object) -> None:
        """Keep an object, unless a newer version or its deletion is known."""
        uid, version = uid_of(item), _version(item)
        newest = uid not in known or version >= _version(known[uid])
        if newest and version > self._ended.get(uid, -1):
            known[uid] = item

    def _end(self, known: dict[str, Object], uid: str, told_by: Object) -> None:
        known.pop(uid, None)
        self._ended[uid] = _version(told_by)

    def _restarts(self, pods: Iterable[Object]) -> Iterable[tuple[tuple[str, str], int]]:
        for pod in pods:
            if self._is_recent(pod):
                continue
            for container in container_statuses(pod):
                yield (uid_of(pod), container["name"]), container.get("restartCount", 0)

    def _counts(self, job: Object) -> bool:
        return self._hooks and self._is_recent(job) and not _by_cron(job)

    def _serves(self, deployment: Object) -> bool:
        return not (self._serving and _component(deployment) in BACKGROUND)

    def _is_begun(self, stateful: Object, pods: Iterable[Object]) -> bool:
        """Return True if a StatefulSet is new, or has begun to replace its pods."""
        if self._is_recent(stateful):
            return True
        status = stateful.get("status", {})
        revision = status.get("updateRevision")
        return revision != status.get("currentRevision") and any(
            self._is_recent(pod)
            for pod in pods
            if controller_uid(pod) == uid_of(stateful)
            and labels_of(pod).get("controller-revision-hash") == revision
        )

    def _is_recent(self, owner: Object) -> bool:
        made = created_at(owner)
        return made is not None and made > self._since - CLOCK_STEP


def _by_cron(job: Object) -> bool:
    return any(owner["kind"] == "CronJob" for owner in owners_of(job))


def _component(owner: Object) -> str:
    return labels_of(owner).get(COMPONENT, "")


def _version(owner: Object) -> int:
    """Return an object's version, or a list's."""
    # Versions of one kind are comparable since Kubernetes 1.35, and were in practice before.
    return int(owner["metadata"]["resourceVersion"])
