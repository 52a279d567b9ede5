"""Sweeps environments that nobody needs any more, and tells what has to sleep."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tasks.adapters.git import Git
from tasks.adapters.terminal.console import Activity, Console
from tasks.core.environment import PIPELINE, Holder, State, parse_moment
from tasks.core.errors import SuiteError, UnreadableError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.rehearsal import is_rehearsal
from tasks.core.repository import is_same
from tasks.core.sleep_hours import NEVER, SleepRule
from tasks.core.spans import since
from tasks.core.summary import EnvironmentSummary
from tasks.flows.at_once import PrefixedConsole, run_on_each
from tasks.flows.cleanup import plan_cleanup, run_cleanup
from tasks.flows.sleep import DueSleep, find_due
from tasks.flows.target import Inspector, RemovalPlan, Remover, owner_of

SPARED = frozenset({State.DEPLOYING, State.CHANGING, State.UNREADABLE})
"""States of environments that are not swept: a run is changing them, or nothing of them is known.
"""

MISNAMED = "its namespace is not what the naming rule gives its branch"

COLUMNS = ("branch", "age", "last deploy", "owner", "reason")
SLEEP_COLUMNS = ("branch", "last use", "owner", "put to sleep")
OTHERS_COLUMNS = (*COLUMNS[:-1], "deployed from", "reason; removed with --all")


@dataclass(frozen=True)
class StaleEnvironment:
    """An environment to be swept away, and why."""

    summary: EnvironmentSummary
    reason: str


@dataclass(frozen=True)
class Sweeper:
    """Who sweeps, and what of.

    Attributes:
        repository: only environments of this repository are removed.
        checkout: this checkout (``Release``).
        everybody: whether those that another checkout has deployed are removed, too.
        young: for how long after its deploy no environment is taken for left over.
    """

    repository: str
    checkout: str
    everybody: bool
    young: timedelta

    def owns(self, found: EnvironmentSummary) -> bool:
        """Return True if this checkout has deployed an environment, or a pipeline has."""
        return found.checkout in {self.checkout, PIPELINE}


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep.

    Attributes:
        environment: its name in invoke.yaml.
        others: stale ones that another checkout has deployed, or nobody knows which; they stay.
        due: environments that have to sleep now, whoever has deployed them.
        unreadable: environments that cannot be read; they are kept, with their images.
    """

    environment: str
    stale: tuple[StaleEnvironment, ...]
    others: tuple[StaleEnvironment, ...] = ()
    due: tuple[DueSleep, ...] = ()
    unreadable: tuple[EnvironmentSummary, ...] = ()

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"sweep {self.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per environment."""
        return (
            *(Step("sleep", f"environment {item.summary.title}", item.reason) for item in self.due),
            *(
                Step("remove", f"environment {item.summary.title}", item.reason)
                for item in self.stale
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        stale, others = (
            [{**asdict(item.summary), "reason": item.reason} for item in items]
            for items in (self.stale, self.others)
        )
        return {
            "title": self.title,
            "environments": stale,
            "others": others,
            "sleep": [item.as_dict() for item in self.due],
            "unreadable": [asdict(item) for item in self.unreadable],
        }

    def tables(self, now: datetime) -> Iterator[tuple[Sequence[str], list[tuple[str, ...]]]]:
        """Yield columns and rows of the environments, if there are any."""
        if self.due:
            yield SLEEP_COLUMNS, self.sleep_rows(now)
        if self.stale:
            yield COLUMNS, [_row(item, now) for item in self.stale]
        if self.others:
            rows = [
                (*row[:-1], item.summary.checkout or "not known", row[-1])
                for item in self.others
                for row in [_row(item, now)]
            ]
            yield OTHERS_COLUMNS, rows

    def sleep_rows(self, now: datetime) -> list[tuple[str, ...]]:
        """Return the environments that have to sleep as rows: branch, last use, owner, reason."""
        return [
            (
                item.summary.title,
                since(item.summary.rest.used_at, now),
                item.summary.owner or "-",
                item.reason,
            )
            for item in self.due
        ]


def _row(item: StaleEnvironment, now: datetime) -> tuple[str, ...]:
    """Return an environment as a row: branch, age, last deploy, owner, reason."""
    return (
        item.summary.title,
        since(item.summary.created_at, now),
        since(item.summary.deployed_at, now),
        item.summary.owner or "-",
        item.reason,
    )


def find_sweep(
    environment: str,
    inspector: Inspector,
    git: Git,
    sweeper: Sweeper,
    *,
    rule: SleepRule = NEVER,
    now: datetime,
) -> SweepPlan:
    """Return the plan of a sweep. Reads only.

    Args:
        environment: the environment's name.
        inspector: lists the environments.
        git: lists the branches.
        sweeper: who sweeps.
        rule: when environments are put to sleep.
        now: the present time.

    Raises:
        SuiteError: the target or the remote cannot be read.
    """
    # Read before the environments, so that one whose branch is pushed and deployed now is not
    # taken for left over.
    remote = git.remote_branches() if git.has_remote() else None
    branches = Branches(remote, git.branches(), private=inspector.is_private)
    found = inspector.list(sweeper.repository)
    sweep = plan_sweep(environment, found, sweeper, branches, now=now)
    going = [item.summary for item in sweep.stale]
    staying = [item for item in found if item not in going]
    return replace(sweep, due=find_due(staying, rule, repository=sweeper.repository, now=now))


def find_sleeps(
    environment: str, inspector: Inspector, repository: str, rule: SleepRule, now: datetime
) -> SweepPlan:
    """Return the plan of a sweep that only puts to sleep; reads no branches.

    Args:
        environment: the environment's name.
        inspector: lists the environments.
        repository: only environments of this repository are put to sleep.
        rule: when environments are put to sleep.
        now: the present time.
    """
    found = inspector.list()
    due = find_due(found, rule, repository=repository, now=now)
    unreadable = tuple(item for item in found if item.problem)
    return SweepPlan(environment, (), due=due, unreadable=unreadable)


@dataclass(frozen=True)
class Branches:
    """The branches that exist.

    Attributes:
        remote: those of the remote; None for a clone that has none.
        local: those of this clone.
        private: whether environments are on this machine alone, so that a branch of this clone
            counts, whether it was ever pushed or not.
    """

    remote: Collection[str] | None
    local: Collection[str]
    private: bool

    def lack(self, found: EnvironmentSummary, sweeper: Sweeper) -> bool:
        """Return True if an environment's branch is gone.

        One that was never seen on the remote is not gone from there: whether it still exists, only
        the clone that has deployed it knows. Without a remote nothing else can be said.
        """
        if found.branch in (self.remote or ()):
            return False
        if found.pushed is False:
            return found.checkout == sweeper.checkout and found.branch not in self.local
        if self.remote is None:
            return False
        return not (self.private and found.branch in self.local)


def plan_sweep(
    environment: str,
    found: Sequence[EnvironmentSummary],
    sweeper: Sweeper,
    branches: Branches,
    *,
    now: datetime,
) -> SweepPlan:
    """Return the plan to remove environments: expired, misnamed, of deleted branches.

    One that is pinned stays, whatever has become of its branch.

    Args:
        environment: the environment's name.
        found: all environments.
        sweeper: who sweeps.
        branches: the branches that exist.
        now: the present time.
    """
    stale: list[StaleEnvironment] = []
    others: list[StaleEnvironment] = []
    for item in found:
        if not is_same(item.repository, sweeper.repository) or item.state in SPARED:
            continue
        if item.rest.pinned(now):
            continue
        reasons = []
        is_gone = branches.lack(item, sweeper) and not is_rehearsal(item.branch)
        if is_gone and not _is_young(item, sweeper.young, now):
            reasons.append("its branch is gone")
        if item.state is State.MISNAMED:
            reasons.append(MISNAMED)
        if item.expires_at and parse_moment(item.expires_at) <= now:
            reasons.append("its time is over")
        if reasons:
            is_ours = sweeper.everybody or sweeper.owns(item)
            (stale if is_ours else others).append(StaleEnvironment(item, " and ".join(reasons)))
    return SweepPlan(
        environment,
        tuple(stale),
        tuple(others),
        unreadable=tuple(item for item in found if item.problem),
    )


def _is_young(item: EnvironmentSummary, young: timedelta, now: datetime) -> bool:
    """Return True if an environment was deployed, or at least made, a short while ago."""
    moment = item.deployed_at or item.created_at
    return bool(moment) and now - parse_moment(moment) < young


def run_sweep(
    sweep: SweepPlan,
    remover: Remover,
    inspector: Inspector,
    names_of: Callable[[str], Names],
    *,
    me: Holder,
    console: Console,
    root: Path,
) -> None:
    """Remove environments in parallel, each independently of the others.

    Their images are left to the sweep of images, which follows.

    Args:
        sweep: the plan.
        remover: removes environments.
        inspector: lists environments.
        names_of: returns a branch's names.
        me: this run, as the holder of the environments' locks.
        console: shows progress.
        root: the checkout.

    Raises:
        SuiteError: some could not be removed; the message names them.
    """
    if not sweep.stale:
        return
    clean_ups = _CleanUps(remover, inspector, names_of, me, root)
    run_on_each(
        [(item.summary.title, partial(clean_ups.run, item)) for item in sweep.stale],
        remover.parallel_removals,
        console,
        title=f"remove {len(sweep.stale)} environments",
        done="removed",
        outcome="removed",
    )


@dataclass(frozen=True)
class _CleanUps:
    """The clean-ups of a sweep's environments, and what they share."""

    remover: Remover
    inspector: Inspector
    names_of: Callable[[str], Names]
    me: Holder
    root: Path

    def run(self, item: StaleEnvironment, activity: Activity) -> str:
        """Remove one environment; return how many objects it was."""
        return f"{self._remove(item, activity)} objects removed"

    def _remove(self, item: StaleEnvironment, activity: Activity) -> int:
        if item.summary.state is State.MISNAMED:
            return self.remover.remove_misnamed(item.summary, activity.line)
        names = self.names_of(item.summary.branch)
        owner = owner_of(names, item.summary.repository)

        def plan() -> RemovalPlan:
            there = {each.branch: each for each in self.inspector.list()}.get(names.branch)
            if there and there.problem:
                raise UnreadableError(f"it cannot be read any more: {there.problem}")
            if there and there.expires_at != item.summary.expires_at:
                # It was deployed while this run waited for the lock.
                raise SuiteError("it was deployed again meanwhile, and was left alone")
            return plan_cleanup(
                self.remover, owner, names, tags=None, protected=False, root=self.root
            )

        console = PrefixedConsole(names.branch, activity)
        return run_cleanup(self.remover, plan, names, me=self.me, console=console)
