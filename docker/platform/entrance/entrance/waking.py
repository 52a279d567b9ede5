"""Wakes one environment: the steps, each under its Lease, and what they wait for.

Each step looks again before it changes anything, so it may be cut off anywhere and repeated, by
this process, another one, or the suite. That an environment is being woken stands in an annotation
of its namespace: whoever finds it goes on, even if no visitor is left.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from entrance import lease as leases
from entrance.api import Api, ApiError, Object
from entrance.pages import Progress, Row, Stage
from entrance.rules import Place, sleeps
from tasks.core.errors import UnreadableError
from tasks.core.kubernetes.labels import ASLEEP, COMPONENT, INSTANCE, NOT_ASLEEP, USED_AT, WAKING
from tasks.core.kubernetes.lease import NAME, holder_of
from tasks.core.kubernetes.objects import annotations_of, labels_of
from tasks.core.kubernetes.rollout import Policy, judge
from tasks.core.kubernetes.snapshot import Snapshot
from tasks.core.kubernetes.stages import SleepStage, stage_of, start_patch

log = logging.getLogger("entrance")

RESOURCES = {"CronJob": "cronjobs", "Deployment": "deployments", "StatefulSet": "statefulsets"}
UNANSWERED = ("the cluster's API server does not answer, or refuses", "look at the entrance's log")
NOTHING_KNOWN = Progress(Stage.ASKED)
WAKE_SECONDS = 600
"""How long one is waited for, whether or not a visitor is left."""
ASKED_SECONDS = 60
"""How long one that starts by itself is looked at after its last visitor."""
POLL_SECONDS = 0.3
"""How often the site is tried."""
LOOK_SECONDS, LATER_SECONDS, LATER_LOOK_SECONDS = 1.0, 20.0, 3.0
"""How often the API server is asked; after so many seconds, less often."""
LOOKS_AT_ONCE = threading.BoundedSemaphore(6)
"""Of all environments that wake at the same time."""
CONNECT_SECONDS = 0.5


class HeldError(Exception):
    """Somebody else holds the environment.

    Attributes:
        holder: who, or an empty string for somebody who was faster a moment ago.
    """

    def __init__(self, holder: str = "") -> None:
        super().__init__(holder)
        self.holder = holder


class Mark(Enum):
    """What a namespace says of its environment."""

    ASLEEP = "it sleeps"
    WAKING = "it is being woken from here"
    AWAKE = "it is awake"


@dataclass(frozen=True)
class Steps:
    """What is done to one environment in a cluster.

    Attributes:
        me: who holds the Lease, in its words: the same again after a restart of this pod.
    """

    api: Api
    namespace: str
    me: str

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
            raise HeldError(holder)
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


@dataclass
class Waking:
    """One environment that somebody waits for.

    Attributes:
        progress: how far it is.
        is_open: set when its web can be reached.
        asked: when somebody asked for it last, by the monotonic clock.
    """

    place: Place
    steps: Steps
    progress: Progress = NOTHING_KNOWN
    is_open: threading.Event = field(default_factory=threading.Event)
    asked: float = field(default_factory=time.monotonic)

    def run(self, *, sleeping: bool) -> None:
        """Wake it, or wait for it if it starts by itself.

        Args:
            sleeping: whether its namespace says that it sleeps.
        """
        began, since = time.monotonic(), datetime.now(UTC)
        to_start, to_finish, next_look = sleeping, False, began
        while not self._is_over(began, woken=to_start or to_finish):
            try:
                if to_start:
                    to_start, to_finish = False, self.steps.start()
                if is_reachable(self.place.address):
                    self.is_open.set()
                    if to_finish:
                        self.steps.finish()
                    return
                if time.monotonic() >= next_look:
                    mark = self.steps.mark()
                    if mark is Mark.ASLEEP:
                        return  # somebody has put it to sleep: the next visitor wakes it
                    to_finish = mark is Mark.WAKING
                    self._look(since, woken=to_finish)
                    next_look = time.monotonic() + _pause(began)
            except HeldError as error:
                # Another pod of the entrance is at the same step.
                if error.holder and not error.holder.startswith(leases.OWN):
                    self.progress = Progress(Stage.HELD, self.progress.rows)
                    time.sleep(LOOK_SECONDS)
            except ApiError as error:
                log.warning("%s: %s", self.place.namespace, error)
                self.progress = Progress(Stage.FAILED, self.progress.rows, *UNANSWERED)
                time.sleep(LOOK_SECONDS)
            time.sleep(POLL_SECONDS)
        if to_finish:
            try:
                self.steps.give_up()
            except (HeldError, ApiError) as error:
                log.warning("%s: stays marked: %r", self.place.namespace, error)

    def _look(self, since: datetime, *, woken: bool) -> None:
        with LOOKS_AT_ONCE:
            found = self.steps.progress(since)
        if not woken and found.stage is Stage.ASKED:
            found = Progress(Stage.STARTING, found.rows)
        self.progress = found

    def _is_over(self, began: float, *, woken: bool) -> bool:
        now = time.monotonic()
        return now - began > WAKE_SECONDS or (not woken and now - self.asked > ASKED_SECONDS)


def _pause(began: float) -> float:
    is_late = time.monotonic() - began > LATER_SECONDS
    return LATER_LOOK_SECONDS if is_late else LOOK_SECONDS


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
