"""Puts together how environments sleep, wake and are pinned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from tasks.adapters.identity import this_run, user_at_host
from tasks.app import wiring
from tasks.app.existing import absent
from tasks.app.session import Session
from tasks.core.environment import Owner
from tasks.core.errors import ClusterError, InputError, SuiteError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.sleep import BY_HAND, Pinned, Rest, Sleep, pin_end
from tasks.flows import sleep
from tasks.flows.sleep import Sleeping
from tasks.flows.target import Deployer, Inspector, ServiceStatus, SleepPlan, Target, owner_of
from tasks.flows.views import now


@dataclass(frozen=True)
class SleepTask:
    """What `inv sleep`, `inv wake` and `inv pin` do with one environment.

    Attributes:
        now: when the run began.
    """

    session: Session
    place: Sleeping
    deployer: Deployer[Any]
    inspector: Inspector
    now: datetime

    def rest(self) -> Rest:
        """Return what is stored of its sleep."""
        return self.place.rest()

    def plan_sleep(self) -> SleepPlan:
        """Return what has to be stopped; reads only."""
        mark = Sleep(self._stamp, user_at_host(), BY_HAND)
        return sleep.plan_sleep(self.place, mark, self.now)

    def sleep(self) -> bool:
        """Stop it; return False if it was stopped already."""
        me = this_run("sleep")
        return sleep.put_to_sleep(self.place, self.plan_sleep, me=me, console=self.session.console)

    def plan_wake(self) -> SleepPlan:
        """Return what has to be started; reads only."""
        plan = self.place.sleeper.plan_wake(self.place.owner, self.place.names, self._stamp)
        if not plan.steps:
            self.place.rest()  # which says so where nothing was ever deployed
        return plan

    def wake(self) -> bool:
        """Start it, and wait for its first page; return False if it was awake."""
        me = this_run("wake")
        return sleep.wake(
            self.place, self.plan_wake, self.deployer, me=me, console=self.session.console
        )

    def down(self) -> list[ServiceStatus]:
        """Return the services of one that is awake which do not run, or are not ready."""
        parts = self.inspector.status(self.place.owner, self.place.names)
        return [part for part in parts if part.is_down]

    def new_pin(self, until: str, lasting: str) -> Pinned:
        """Return a pin by this user.

        Args:
            until: what ``--until`` said.
            lasting: what ``--for`` said.
        """
        return Pinned(self._stamp, user_at_host(), pin_end(until, lasting, self.now))

    def plan_pin(self, value: Pinned | None) -> SleepPlan:
        """Return what a pin, or None for the end of one, would change; reads only."""
        before = self.place.rest().pinned(self.now)
        title = f"pin {self.place.title}"
        step = Step("pin" if value else "unpin", f"environment {self.place.names.branch}")
        told = replace(step, reason=f"{value or 'pinned no more'}; it is {before or 'not pinned'}")
        return SleepPlan(title, ((told, lambda _: self.pin(value)),) if value or before else ())

    def pin(self, value: Pinned | None) -> Pinned | None:
        """Pin it, or pin it no more; return how it was pinned before, None if it was not."""
        me, console = this_run("pin"), self.session.console
        return sleep.pin(self.place, value, me=me, console=console).pinned(self.now)

    def outcome(self, *, changed: bool) -> dict[str, Any]:
        """Return what stands after a change as JSON-ready data.

        Args:
            changed: whether this run has changed anything.
        """
        return {"url": self.place.names.url, "changed": changed, **asdict(self.rest())}

    def note_use(self) -> None:
        """Store that it is used now."""
        self.place.sleeper.note_use(self.place.owner, self.place.names, self._stamp)

    @property
    def _stamp(self) -> str:
        return self.now.isoformat(timespec="seconds")


def find(session: Session, env: str, branch: str | None) -> SleepTask:
    """Return what is done with a branch's environment.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.
    """
    return _find(session, session.names(env, branch))


def find_to_sleep(session: Session, env: str, branch: str | None) -> SleepTask:
    """Return what is done with an environment that may sleep; arguments as for ``find``.

    Raises:
        RefusedError: it is protected.
    """
    return _find(session, session.unprotected_names(env, branch, sleep.refuse_protected))


def _find(session: Session, names: Names) -> SleepTask:
    names = wiring.settled(session, names)
    target = wiring.target(session, names.environment)
    owner = owner_of(names, session.git.repository())
    place = Sleeping(owner, names, target.sleeper, partial(absent, session, target.inspector))
    return SleepTask(session, place, target.deployer, target.inspector, now())


def be_used(
    session: Session,
    target: Target[Any],
    owner: Owner,
    names: Names,
    *,
    dry: bool = False,
    guard: Callable[[], object] = lambda: None,
) -> None:
    """Wake an environment that sleeps, before somebody uses it, and store that it is used.

    Args:
        session: the run.
        target: where it runs.
        owner: the owner that it must have.
        names: the branch's names.
        dry: only look.
        guard: called before one that sleeps is woken; raises if there is no use for it.

    Raises:
        InputError: it sleeps, and this run only looks.
        SuiteError: it could not be woken.
    """
    if session.settings.environment(names.environment).protected:
        return
    place = Sleeping(owner, names, target.sleeper)
    task = SleepTask(session, place, target.deployer, target.inspector, now())
    rest = target.sleeper.rest(owner, names)
    if rest is None:
        return
    if rest.asleep is None:
        if not dry:
            _note_use(task)
        return
    command = f"inv wake {names.options}"
    if dry:
        raise InputError(
            f"{place.title} is {rest.asleep}; asleep, it cannot be asked", hint=f"first: {command}"
        )
    guard()
    session.console.say(f"{place.title} is {rest.asleep}; waking it")
    try:
        task.wake()
    except SuiteError as error:
        error.message = f"{place.title} was not woken: {error.message}"
        error.hint = error.hint or f"to try again: {command}"
        raise


def _note_use(task: SleepTask) -> None:
    try:
        task.note_use()
    except ClusterError as error:
        # Who may only look, may still look.
        task.session.console.warn(f"that it is used could not be noted: {error.message}")
