"""Wakes the environments of a cluster: the steps, each under the environment's Lease.

That an environment is being woken stands in an annotation of its namespace: whoever finds it goes
on, even if no visitor is left.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from entrance import lease as leases
from entrance.api import Api, ApiError, Object
from entrance.fleet import Fleet
from entrance.pages import Progress, Row, Stage
from entrance.rules import Place, Rules, is_of, sleeps
from entrance.waker import Found, Waker
from entrance.waking import HeldError, Mark
from tasks.core.errors import UnreadableError
from tasks.core.kubernetes.labels import ASLEEP, COMPONENT, INSTANCE, NOT_ASLEEP, USED_AT, WAKING
from tasks.core.kubernetes.lease import NAME, holder_of
from tasks.core.kubernetes.objects import annotations_of, labels_of
from tasks.core.kubernetes.rollout import Policy, judge
from tasks.core.kubernetes.snapshot import Snapshot
from tasks.core.kubernetes.stages import SleepStage, stage_of, start_patch

RESOURCES = {"CronJob": "cronjobs", "Deployment": "deployments", "StatefulSet": "statefulsets"}
CONNECT_SECONDS = 0.5


class ClusterWaker(Waker):
    """Wakes the environments of a cluster.

    Args:
        me: who holds their Leases meanwhile.
    """

    def __init__(self, api: Api, rules: Rules, fleet: Fleet, me: str) -> None:
        super().__init__()
        self._api = api
        self._rules = rules
        self._fleet = fleet
        self._me = me

    def is_ready(self) -> bool:
        """Return True once all namespaces have been listed."""
        return self._fleet.known.is_set()

    def find(self, host: str) -> Found | None:
        """Return the environment of a host name, if its namespace really is that environment."""
        place = self._rules.place_of(host)
        namespace = self._fleet.get(place.namespace) if place else None
        if place is None or namespace is None or not is_of(namespace, place):
            return None
        return self._found(place, namespace)

    def unfinished(self) -> Iterator[Found]:
        """Yield what a process that is gone has begun to wake."""
        for namespace in self._fleet.all():
            place = self._rules.place_of_namespace(namespace)
            if place and WAKING in annotations_of(namespace):
                yield self._found(place, namespace)

    def _found(self, place: Place, namespace: Object) -> Found:
        steps = Steps(self._api, place.namespace, self._me, place.address)
        return Found(place.namespace, place.slug, sleeps(namespace), steps)


@dataclass(frozen=True)
class Steps:
    """What is done to one environment in a cluster.

    Attributes:
        me: who holds the Lease, in its words: the same again after a restart of this pod.
        address: host and port of its web.
    """

    api: Api
    namespace: str
    me: str
    address: str

    def start(self) -> bool:
        """Start the database and web of one that sleeps; return False if it does not.

        Raises:
            HeldError: somebody else holds it.
            ApiError: the API server is away, or refuses.
        """
        with self._held() as check:
            found = self.api.get("namespaces", self.namespace)
            if found is None or not sleeps(found):
                return False
            if WAKING not in annotations_of(found):
                self._say(found, {WAKING: _now()})
            workloads = self.workloads()
            for stage in (SleepStage.SERVERS, SleepStage.WEB):
                self._start_stage(workloads, stage, check)
        return True

    def proceed(self) -> bool:
        """Return True if its web can be reached: pods wait for what they need by themselves."""
        return is_reachable(self.address)

    def finish(self) -> None:
        """Start workers and crons of one whose web serves, and say that it is awake.

        Raises:
            HeldError: somebody else holds it.
            ApiError: the API server is away, or refuses.
        """
        with self._held() as check:
            found = self.api.get("namespaces", self.namespace)
            # Somebody may have put it to sleep again, or woken it.
            if found and WAKING in annotations_of(found):
                self._start_stage(self.workloads(), SleepStage.WORK, check)
                check()
                self._say(found, {**NOT_ASLEEP, USED_AT: _now()})

    def give_up(self) -> None:
        """Say that it is no longer being woken: the next visitor tries again.

        Raises:
            HeldError: somebody else holds it.
            ApiError: the API server is away, or refuses.
        """
        with self._held():
            found = self.api.get("namespaces", self.namespace)
            if found and WAKING in annotations_of(found):
                self._say(found, {WAKING: None})

    def mark(self) -> Mark:
        """Return what its namespace says now.

        Raises:
            ApiError: the API server is away, or refuses.
        """
        found = self.api.get("namespaces", self.namespace)
        said = annotations_of(found) if found else {}
        if WAKING in said:
            return Mark.WAKING
        return Mark.ASLEEP if ASLEEP in said else Mark.AWAKE

    def workloads(self) -> list[Object]:
        """Return everything that can sleep."""
        return [
            {"kind": kind, **item}
            for kind, resource in RESOURCES.items()
            for item in self.api.find(resource, self.namespace, INSTANCE)
        ]

    def progress(self, since: datetime) -> Progress:
        """Return how far the servers and web are, and what is in their way."""
        find = self.api.find
        deployments, stateful = (
            [
                item
                for item in find(resource, self.namespace, INSTANCE)
                if stage_of(item) is not SleepStage.WORK
            ]
            for resource in ("deployments", "statefulsets")
        )
        snapshot = Snapshot(
            deployments=deployments,
            statefulsets=stateful,
            replicasets=find("replicasets", self.namespace, INSTANCE),
            pods=[
                pod
                for pod in find("pods", self.namespace, INSTANCE)
                if stage_of(pod) is not SleepStage.WORK
            ],
            events=find("events", self.namespace),
        )
        cause = judge(snapshot, started=since, now=datetime.now(UTC), policy=Policy()).cause
        rows = tuple(_rows((*stateful, *deployments)))
        if cause:
            return Progress(Stage.FAILED, rows, cause.rule.cause, cause.rule.advice)
        return Progress(Stage.ASKED, rows)

    def _start_stage(self, workloads: Sequence[Object], stage: SleepStage, check: _Check) -> None:
        for item in workloads:
            patch = start_patch(item) if stage_of(item) is stage else None
            if not patch or not patch["spec"]:
                continue
            check()
            name, resource = item["metadata"]["name"], RESOURCES[item["kind"]]
            if item["kind"] == "CronJob":
                self.api.patch(resource, name, self.namespace, patch)
            else:
                # The right to scale is none to annotate: the note stays, and is written anew when
                # it goes to sleep again.
                self.api.patch(resource, name, self.namespace, {"spec": patch["spec"]}, "scale")

    def _say(self, namespace: Object, said: dict[str, str | None]) -> None:
        meta = {"uid": namespace["metadata"]["uid"], "annotations": said}
        self.api.patch("namespaces", self.namespace, "", {"metadata": meta})

    @contextlib.contextmanager
    def _held(self) -> Iterator[_Check]:
        """Hold the Lease for one step."""
        found = self.api.get("leases", NAME, self.namespace)
        now = datetime.now(UTC)
        try:
            holder = holder_of(found, now) if found else None
        except UnreadableError as error:
            raise ApiError(0, error.message) from error
        if holder not in {None, self.me}:
            raise HeldError(by_stranger=not str(holder).startswith(leases.OWN))
        mine = leases.taken(found, self.namespace, self.me, now)
        try:
            held = (
                self.api.replace("leases", mine)
                if found
                else self.api.create("leases", self.namespace, mine)
            )
        except ApiError as error:
            if error.status == _CONFLICT:
                raise HeldError from error
            raise
        try:
            yield _Check(time.monotonic() + leases.HOLD_SECONDS * 0.8)
        finally:
            self._release(held)

    def _release(self, held: Object) -> None:
        try:
            self.api.replace("leases", leases.released(held))
        except ApiError as error:
            # It went with its namespace, or somebody has taken it over.
            if error.status not in {_FORBIDDEN, _NOT_FOUND, _CONFLICT}:
                raise


_FORBIDDEN, _NOT_FOUND, _CONFLICT = 403, 404, 409


@dataclass(frozen=True)
class _Check:
    """Refuses to change anything after the Lease may have been taken over."""

    until: float

    def __call__(self) -> None:
        if time.monotonic() > self.until:
            raise HeldError


def is_reachable(address: str) -> bool:
    """Return True if something listens at a host and port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def _rows(workloads: Iterable[Object]) -> Iterator[Row]:
    for item in workloads:
        wanted = item["spec"].get("replicas", 1)
        if wanted:
            title = labels_of(item).get(COMPONENT) or item["metadata"]["name"]
            yield Row(title, item.get("status", {}).get("readyReplicas", 0), wanted)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
