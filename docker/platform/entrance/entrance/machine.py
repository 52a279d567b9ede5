"""Wakes the environments of one machine's Docker Engine, through the gate to it.

How far it is stands in a file beside the environment's lock, under that lock: the record itself is
the suite's to write, which has rights to the engine.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from entrance.gate import Listed, UnixConnection
from entrance.pages import Progress, Row, Stage
from entrance.waker import Found, Waker
from entrance.waking import HeldError, Mark, UnansweredError
from tasks.adapters.files.lock import FileLock
from tasks.core import errors
from tasks.core.compose.reconcile import Fate, ObservedContainer, judge
from tasks.core.compose.stages import QUIESCED, STAGES, stage_of
from tasks.core.environment import Holder
from tasks.core.sleep import Wake

HOST = re.compile(r"(?P<slug>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9-]+)?\.localhost")
"""The rule of the proxy (docker/platform/proxy/nginx.conf)."""
FRESH_SECONDS = 1.0
"""How long what the gate has listed serves all who ask."""
PATIENCE_SECONDS = 60
WORK = STAGES.index(QUIESCED)
STABILITY = timedelta()
"""They have run before: that they stay is not waited for."""


class GateError(UnansweredError):
    """The gate or the engine is away, or refuses.

    Attributes:
        status: of its answer; 0 if it gave none.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.told = (f"the Docker Engine says: {message}", "`inv doctor` looks at this machine")


@dataclass
class GateClient:
    """The gate, by its socket."""

    path: Path
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _last: tuple[float, list[Listed]] = (0.0, [])

    def environments(self) -> list[Listed]:
        """Return the environments that the proxy leads to.

        Raises:
            GateError: the gate or the engine is away, or refuses.
        """
        with self._turn:
            at, found = self._last
            if not at or time.monotonic() - at > FRESH_SECONDS:
                found = [Listed(**each) for each in self._ask("GET", "/")]
                self._last = (time.monotonic(), found)
            return found

    def services(self, project: str) -> tuple[bool, dict[str, ObservedContainer]]:
        """Return whether an environment's record says that it sleeps, and its services by name.

        Raises:
            GateError: the gate or the engine is away, or refuses.
        """
        try:
            found = self._ask("GET", f"/{project}")
        except GateError as error:
            if error.status != http.client.NOT_FOUND:
                raise
            return False, {}
        services = [ObservedContainer(**each) for each in found["services"]]
        return found["asleep"], {each.service: each for each in services}

    def start(self, project: str, service: str) -> None:
        """Start a service, unless it runs.

        Raises:
            GateError: the gate or the engine is away, or refuses.
        """
        self._ask("POST", f"/{project}/{service}")

    def _ask(self, method: str, where: str) -> Any:
        connection = UnixConnection(self.path, PATIENCE_SECONDS)
        try:
            connection.request(method, where)
            answer = connection.getresponse()
            found = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise GateError(0, f"the gate to it does not answer ({error})") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise GateError(answer.status, found["message"])
        return found


@dataclass(frozen=True)
class MachineSteps:
    """What is done to one environment on an engine."""

    gate: GateClient
    project: str
    lock: FileLock

    def start(self) -> bool:
        """Store that it is being woken, and start its servers; return False if it does not sleep.

        Raises:
            HeldError: somebody else holds it.
            GateError: the gate or the engine is away, or refuses.
        """
        with self._held():
            if self.mark() is Mark.AWAKE:
                return False
            self.lock.note_wake(Wake.BEGUN)
            self._start_next()
        return True

    def proceed(self) -> bool:
        """Start the stage whose servers are up; return True once web is healthy.

        Raises:
            HeldError: somebody else holds it.
            GateError: the gate or the engine is away, or refuses.
        """
        _, services = self.gate.services(self.project)
        waited = [each for each in services.values() if stage_of(each.service) != WORK]
        if waited and all(map(_is_up, waited)):
            return True
        if self._next(services) and self.mark() is Mark.WAKING:
            with self._held():
                self._start_next()
        return False

    def finish(self) -> None:
        """Start workers and crons of one whose web serves, and store that it is awake.

        Raises:
            HeldError: somebody else holds it.
            GateError: the gate or the engine is away, or refuses.
        """
        with self._held():
            if self.mark() is Mark.WAKING:
                _, services = self.gate.services(self.project)
                for name in QUIESCED:
                    if name in services:
                        self.gate.start(self.project, name)
                self.lock.note_use()
                self.lock.note_wake(Wake.DONE)

    def give_up(self) -> None:
        """Store that it is no longer being woken.

        Raises:
            HeldError: somebody else holds it.
            GateError: the gate or the engine is away, or refuses.
        """
        with self._held():
            if self.mark() is Mark.WAKING:
                self.lock.note_wake(Wake.NOT)

    def mark(self) -> Mark:
        """Return what is stored of it now.

        Raises:
            GateError: the gate or the engine is away, or refuses.
        """
        asleep, _ = self.gate.services(self.project)
        if not asleep:
            return Mark.AWAKE
        marks = {Wake.BEGUN: Mark.WAKING, Wake.DONE: Mark.AWAKE, Wake.NOT: Mark.ASLEEP}
        return marks[self.lock.wake()]

    def progress(self, since: datetime) -> Progress:
        """Return how far its servers and web are, and what is in their way.

        Raises:
            GateError: the gate or the engine is away, or refuses.
        """
        _, services = self.gate.services(self.project)
        now = datetime.now(UTC)
        rows, cause = [], ""
        for name in sorted(services, key=stage_of, reverse=True):
            each = services[name]
            if stage_of(name) == WORK:
                continue
            rows.append(Row(name, int(_is_up(each)), 1))
            verdict = judge(each, 0, STABILITY, now)
            has_run = _moment(each.started_at) >= since
            if verdict.fate is Fate.DOOMED and (has_run or each.state != "exited"):
                cause = cause or verdict.reason
        stage = Stage.FAILED if cause else Stage.ASKED
        return Progress(stage, tuple(rows), cause, "`inv logs` says what it wrote" if cause else "")

    def _start_next(self) -> None:
        _, services = self.gate.services(self.project)
        for name in self._next(services):
            self.gate.start(self.project, name)

    def _next(self, services: Mapping[str, ObservedContainer]) -> list[str]:
        """Return what is to be started now: of the first stage that is not up, what is stopped."""
        for number in reversed(range(len(STAGES))):
            stage = [each for each in services.values() if stage_of(each.service) == number]
            if number != WORK and not all(map(_is_up, stage)):
                return [each.service for each in stage if each.state in {"created", "exited"}]
        return []

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        stamp = datetime.now(UTC).isoformat()
        me = Holder("entrance", os.getpid(), stamp, "wake")
        try:
            with self.lock.held(me, lambda _: None, wait_seconds=0):
                yield
        except errors.HeldError as error:
            raise HeldError(by_stranger=True) from error
        except errors.SuiteError as error:
            raise GateError(0, error.message) from error


class MachineWaker(Waker):
    """Wakes the environments of one machine.

    Args:
        locks: the folder of the suite's locks.
    """

    def __init__(self, gate: GateClient, locks: Path) -> None:
        super().__init__()
        self._gate = gate
        self._locks = locks

    def is_ready(self) -> bool:
        """Return True: it asks when it is asked."""
        return True

    def find(self, host: str) -> Found | None:
        """Return the environment that the proxy leads a host name to.

        Raises:
            GateError: the gate or the engine is away, or refuses.
        """
        named = HOST.fullmatch(host.partition(":")[0].lower().removesuffix("."))
        if named is None:
            return None
        listed = (each for each in self._gate.environments() if each.slug == named["slug"])
        return next(map(self._found, listed), None)

    def unfinished(self) -> Iterator[Found]:
        """Yield what a process that is gone has begun to wake.

        Raises:
            GateError: the gate or the engine is away, or refuses.
        """
        for each in self._gate.environments():
            if each.asleep and self._lock_of(each).wake() is Wake.BEGUN:
                yield self._found(each)

    def _found(self, listed: Listed) -> Found:
        lock = self._lock_of(listed)
        sleeps = listed.asleep and lock.wake() is not Wake.DONE
        steps = MachineSteps(self._gate, listed.project, lock)
        return Found(listed.project, listed.slug, sleeps, steps)

    def _lock_of(self, listed: Listed) -> FileLock:
        return FileLock(listed.project, self._locks)


def _is_up(service: ObservedContainer) -> bool:
    return service.state == "running" and service.health in {"", "healthy"}


def _moment(stamp: str) -> datetime:
    """Return an engine's time, which has more digits than Python reads."""
    return datetime.fromisoformat(f"{stamp[:19]}+00:00")
