"""Puts environments to sleep, wakes them, pins them: by hand, and what is due by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from tasks.adapters.terminal.console import Activity, Console
from tasks.core.environment import Holder, Owner, State
from tasks.core.errors import HeldError, InputError, RefusedError
from tasks.core.names import Names
from tasks.core.repository import is_same
from tasks.core.sleep import Pinned, Rest, Sleep, refuse_sleep
from tasks.core.sleep_hours import SleepRule
from tasks.core.summary import EnvironmentSummary
from tasks.flows.at_once import PrefixedConsole, run_on_each
from tasks.flows.smoke import first_page
from tasks.flows.target import Deployer, Sleeper, SleepPlan, owner_of
from tasks.flows.views import absent_error

AWAKE = frozenset({State.RUNNING, State.DEGRADED, State.ROLLED_BACK})
"""States of environments that are put to sleep by themselves: of no other is it known what a person
who looks at it needs of it."""


class SleepConsole(Protocol):
    """The part of a console that going to sleep needs."""

    def say(self, text: str) -> None:
        """Print a message."""

    def warn(self, text: str) -> None:
        """Print a warning."""

    def work(self, title: str) -> AbstractContextManager[Activity]:
        """Show a piece of work while it runs."""


@dataclass(frozen=True)
class Sleeping:
    """A branch's environment, and what puts it to sleep and wakes it.

    Attributes:
        absent: returns the error for one that is not there.
    """

    owner: Owner
    names: Names
    sleeper: Sleeper
    absent: Callable[[Names], InputError] = absent_error

    @property
    def title(self) -> str:
        """The branch and its environment."""
        return f"{self.names.branch} in {self.names.environment}"

    def rest(self) -> Rest:
        """Return what is stored of its sleep.

        Raises:
            InputError: nothing was ever deployed.
        """
        found = self.sleeper.rest(self.owner, self.names)
        if found is None:
            raise self.absent(self.names)
        return found


def refuse_protected(environment: str, *, protected: bool) -> None:
    """Refuse to put a protected environment to sleep.

    Raises:
        RefusedError: it is protected.
    """
    if protected:
        raise RefusedError(
            f"{environment} is protected: it never sleeps",
            hint="branches' environments do",
        )


def plan_sleep(
    place: Sleeping, sleep: Sleep, now: datetime, is_wanted: Callable[[Rest], bool] = lambda _: True
) -> SleepPlan:
    """Return what has to be stopped; reads only.

    Args:
        is_wanted: returns whether it is to sleep still, by what is stored of it.

    Raises:
        InputError: nothing was ever deployed.
        RefusedError: it is pinned, or not wanted any more.
    """
    rest = place.rest()
    refuse_sleep(place.title, place.names.options, rest, now)
    if not is_wanted(rest):
        raise RefusedError(f"{place.title} was used meanwhile, and is left awake")
    return place.sleeper.plan_sleep(place.owner, place.names, sleep)


def put_to_sleep(
    place: Sleeping, find_plan: Callable[[], SleepPlan], *, me: Holder, console: SleepConsole
) -> bool:
    """Stop an environment under its lock; return False if it was stopped already.

    The next run completes an interrupted one.

    Args:
        find_plan: returns what has to be stopped; called again under the lock.

    Raises:
        HeldError: another run holds the environment.
        SuiteError: something does not end in time.
    """
    return _run(place, find_plan, me, console, lambda: None)


def wake(
    place: Sleeping,
    find_plan: Callable[[], SleepPlan],
    deployer: Deployer[Any],
    *,
    me: Holder,
    console: SleepConsole,
) -> bool:
    """Start an environment under its lock, and wait for its first page; False if it is awake.

    Args:
        find_plan: returns what has to be started; called again under the lock.

    Raises:
        HeldError: another run holds the environment.
        SuiteError: it does not come up; the message names the cause.
    """
    names = place.names

    def look() -> None:
        with console.work("first page") as activity:
            first_page(
                lambda path: deployer.get(names, path),
                activity.note,
                names.url,
                patience_seconds=deployer.smoke_seconds,
            )

    return _run(place, find_plan, me, console, look)


def pin(place: Sleeping, value: Pinned | None, *, me: Holder, console: SleepConsole) -> Rest:
    """Pin an environment, or not any more; return what was stored before.

    Raises:
        HeldError: another run holds the environment.
        InputError: nothing was ever deployed.
    """
    place.rest()
    with place.sleeper.exclusive(place.names, me, console.warn):
        before = place.rest()
        place.sleeper.pin(place.owner, place.names, value)
    return before


def _run(
    place: Sleeping,
    find_plan: Callable[[], SleepPlan],
    me: Holder,
    console: SleepConsole,
    then: Callable[[], None],
) -> bool:
    if not find_plan().steps:
        return False
    with place.sleeper.exclusive(place.names, me, console.warn):
        plan = find_plan()
        for step, action in plan.todo:
            if step.verb == "mark":
                action(Activity(console.say, console.say))
                continue
            with console.work(f"{step.verb} {step.subject}") as activity:
                action(activity)
        if plan.steps:
            then()
    return bool(plan.steps)


# -- by itself ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DueSleep:
    """An environment that has to sleep now, and why."""

    summary: EnvironmentSummary
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {**asdict(self.summary), "reason": self.reason}


def find_due(
    found: Sequence[EnvironmentSummary], rule: SleepRule, *, repository: str, now: datetime
) -> tuple[DueSleep, ...]:
    """Return the environments that have to sleep now.

    Args:
        found: all environments.
        rule: that of their settings.
        repository: only environments of this repository are put to sleep.
        now: the present time.
    """
    due = []
    for item in found:
        if item.state not in AWAKE or not is_same(item.repository, repository):
            continue
        if item.rest.pinned(now) is None and (reason := rule.due(item.rest.last_use, now)):
            due.append(DueSleep(item, reason))
    return tuple(due)


def run_due(
    due: Sequence[DueSleep],
    sleeper: Sleeper,
    names_of: Callable[[str], Names],
    *,
    me: Holder,
    console: Console,
    now: datetime,
) -> None:
    """Put environments to sleep in parallel, each independently of the others.

    Raises:
        SuiteError: some could not be; the message names them.
    """

    def sleep(item: DueSleep, activity: Activity) -> str:
        names = names_of(item.summary.branch)
        place = Sleeping(owner_of(names, item.summary.repository), names, sleeper)
        mark = Sleep(now.isoformat(timespec="seconds"), me.owner, item.reason)

        def plan() -> SleepPlan:
            same = item.summary.rest.used_at
            return plan_sleep(place, mark, now, lambda rest: rest.used_at == same)

        own = PrefixedConsole(names.branch, activity)
        try:
            became = "asleep" if put_to_sleep(place, plan, me=me, console=own) else "was asleep"
        except (HeldError, RefusedError) as error:
            # Somebody uses it, or has pinned it, since the plan was made.
            return error.message
        return f"{became} ({item.reason})"

    run_on_each(
        [(item.summary.title, partial(sleep, item)) for item in due],
        sleeper.parallel_sleeps,
        console,
        title=f"put {len(due)} environments to sleep",
        done="put to sleep",
        outcome="asleep",
    )
