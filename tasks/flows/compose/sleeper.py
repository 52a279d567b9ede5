"""Puts environments on this machine to sleep and wakes them: containers stop, and stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from tasks.adapters.docker import compose
from tasks.adapters.docker.engine import Container
from tasks.adapters.files.lock import FileLock
from tasks.adapters.terminal.console import Activity
from tasks.core.compose.record import ComposeRecord
from tasks.core.compose.stages import QUIESCED, STAGES, stage_of
from tasks.core.environment import Holder, Owner
from tasks.core.errors import EngineError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.sleep import Pinned, Rest, Sleep, Wake
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.inventory import Inventory, write_record
from tasks.flows.compose.wait import wait_until_up
from tasks.flows.target import Say, SleepPlan, SleepStep

UP_SECONDS = 300.0
"""Timeout of the services of one stage to come up."""


@dataclass(frozen=True)
class ComposeSleeper:
    """Puts environments to sleep and wakes them; errors as for ``Sleeper``."""

    context: ComposeContext

    parallel_sleeps: ClassVar = 2

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return self.context.exclusive(names, me, warn)

    def rest(self, owner: Owner, names: Names) -> Rest | None:
        """Return what the record says; None if nothing was ever deployed."""
        record = self.context.inventory(owner, names).record
        if record is None or record.current is None:
            return None
        return self._rest(names, record)

    def plan_sleep(self, owner: Owner, names: Names, sleep: Sleep) -> SleepPlan:
        """Return what has to be stopped."""
        inventory = self.context.inventory(owner, names)
        title = f"put {names.branch} in {names.environment} to sleep"
        return SleepPlan(title, tuple(self._stops(owner, names, inventory, sleep)))

    def _stops(
        self, owner: Owner, names: Names, inventory: Inventory, sleep: Sleep
    ) -> Iterator[SleepStep]:
        running = [[item for item in each if item.state != "exited"] for each in _stages(inventory)]
        if not any(running):
            return
        # It says so first: whoever finds the half of it stopped knows why, and how to go on.
        step = Step("mark", f"environment {names.branch}", f"asleep: {sleep.why}")
        yield step, lambda _: self._asleep(owner, names, sleep)
        for stage in filter(None, running):
            yield Step("stop", _shown(stage)), partial(self._stop, stage)

    def _asleep(self, owner: Owner, names: Names, sleep: Sleep) -> None:
        lock = FileLock(names.namespace)
        if lock.wake() is not Wake.NOT:
            lock.note_wake(Wake.NOT)
        self._write(owner, names, lambda record: replace(record, asleep=sleep))

    def _stop(self, stage: Sequence[Container], _: Activity) -> None:
        compose.stop(self.context.runner, [item.id for item in stage])

    def plan_wake(self, owner: Owner, names: Names, used_at: str) -> SleepPlan:
        """Return what has to be started; of one that is awake, what it shares with the others.

        Raises:
            EngineError: a container or its network is gone, so that nothing can start it.
        """
        inventory = self.context.inventory(owner, names)
        title = f"wake {names.branch} in {names.environment}"
        record = inventory.record
        if record is None or record.current is None:
            return SleepPlan(title)
        if self._rest(names, record).asleep is None:
            return SleepPlan(title, tuple(self._shared()))
        stranded = [
            name for name, item in inventory.services.items() if item.name in inventory.stranded
        ]
        for what, services in (
            ("container", record.services.keys() - inventory.services.keys()),
            ("network", stranded),
        ):
            if services:
                raise EngineError(
                    f"{title}: there is no {what} of {', '.join(sorted(services))} any more",
                    hint=f"make what is missing: inv deploy {names.options}",
                )
        return SleepPlan(title, tuple(self._starts(owner, names, inventory)))

    def _starts(self, owner: Owner, names: Names, inventory: Inventory) -> Iterator[SleepStep]:
        yield from self._shared()
        for stage in filter(None, reversed(_stages(inventory))):
            yield Step("start", _shown(stage)), partial(self._start, names, stage)
        step = Step("mark", f"environment {names.branch}", "awake")
        yield step, lambda _: self._woken(owner, names)

    def _shared(self) -> Iterator[SleepStep]:
        if self.context.platform.is_wanting():
            yield Step("start", "the local platform"), self._start_platform

    def _start_platform(self, activity: Activity) -> None:
        # The step is shown already.
        replace(self.context.platform, work=lambda _: nullcontext(activity)).ensure()

    def _start(self, names: Names, stage: Sequence[Container], activity: Activity) -> None:
        self.context.secrets(names)
        compose.start(self.context.runner, [item.id for item in stage])
        waited = [item.service for item in stage if item.service not in QUIESCED]
        if not waited:
            # Nobody waits for a page of theirs.
            return
        wait_until_up(
            self.context.engine,
            lambda: self.context.containers(names),
            waited,
            say=activity.note,
            # They have run before: that they stay is not waited for.
            stability_seconds=0,
            deadline_seconds=UP_SECONDS,
            hide=self.context.runner.redactor,
        )

    def _woken(self, owner: Owner, names: Names) -> None:
        self._write(owner, names, lambda record: replace(record, asleep=None))
        FileLock(names.namespace).note_use()

    def pin(self, owner: Owner, names: Names, pin: Pinned | None) -> None:
        """Write it to the record."""
        self._write(owner, names, lambda record: replace(record, pin=pin))

    def note_use(self, owner: Owner, names: Names, used_at: str) -> None:
        """Write it to a file beside the lock's: a record is replaced under the lock alone."""
        FileLock(names.namespace).note_use()

    def _rest(self, names: Names, record: ComposeRecord) -> Rest:
        lock = FileLock(names.namespace)
        return record.rest(lock.used_at(), lock.wake())

    def _write(
        self, owner: Owner, names: Names, changed: Callable[[ComposeRecord], ComposeRecord]
    ) -> None:
        if record := self.context.inventory(owner, names).record:
            write_record(self.context.engine, owner, names, changed(record))


def _stages(inventory: Inventory) -> list[list[Container]]:
    """Return the containers of each stage; those of services without one are with the database."""
    found: list[list[Container]] = [[] for _ in STAGES]
    for name, container in sorted(inventory.services.items()):
        found[stage_of(name)].append(container)
    return found


def _shown(stage: Sequence[Container]) -> str:
    return ", ".join(item.service for item in stage)
