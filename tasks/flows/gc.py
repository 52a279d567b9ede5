"""Sweeping away the environments that nobody needs any more, each by the ordinary clean-up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.adapters.console import Activity, Console
from tasks.adapters.lock import Holder
from tasks.core.errors import SuiteError
from tasks.core.naming import Names
from tasks.core.plan import Step
from tasks.core.record import Owner
from tasks.flows.cleanup import Tags, plan_cleanup, plan_images, remove, run_cleanup
from tasks.flows.observe import since
from tasks.flows.target import RemovalPlan, Summary, Target

BUSY = frozenset({"deploying", "changing"})
"""States in which somebody is at work on an environment: it is not swept away under him."""


@dataclass(frozen=True)
class Stale:
    """An environment to be swept away.

    Attributes:
        summary: which one.
        reason: why.
    """

    summary: Summary
    reason: str


@dataclass(frozen=True)
class Sweep:
    """What a sweep is going to remove.

    Attributes:
        environment: the environment's name in invoke.yaml.
        stale: the branches' environments, by branch.
    """

    environment: str
    stale: tuple[Stale, ...]

    @property
    def title(self) -> str:
        """What the plan is about."""
        return f"sweep {self.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per environment."""
        return tuple(
            Step("remove", f"environment {item.summary.branch}", item.reason) for item in self.stale
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        stale = [{**asdict(item.summary), "reason": item.reason} for item in self.stale]
        return {"title": self.title, "environments": stale}

    def rows(self, now: datetime) -> list[tuple[str, ...]]:
        """Return it as rows: branch, age, last deploy, owner, reason."""
        return [
            (
                item.summary.branch,
                since(item.summary.created_at, now),
                since(item.summary.deployed_at, now),
                item.summary.owner or "-",
                item.reason,
            )
            for item in self.stale
        ]


COLUMNS = ("branch", "age", "last deploy", "owner", "reason")


def plan_sweep(
    environment: str,
    found: Sequence[Summary],
    *,
    repository: str,
    branches: Collection[str],
    now: datetime,
) -> Sweep:
    """Return what may be swept away: what its branch or its time has left.

    Args:
        environment: the environment's name.
        found: all environments there are.
        repository: only this one's are ever removed.
        branches: the branches that still exist.
        now: the present moment.
    """
    stale = []
    for item in found:
        if item.repository != repository or item.state in BUSY:
            continue
        reasons = []
        if item.branch not in branches:
            reasons.append("its branch is gone")
        if item.expires_at and datetime.fromisoformat(item.expires_at) <= now:
            reasons.append("its time is over")
        if reasons:
            stale.append(Stale(item, " and ".join(reasons)))
    return Sweep(environment, tuple(stale))


def run_sweep(
    sweep: Sweep,
    target: Target,
    names_of: Callable[[str], Names],
    *,
    tags: Tags | None,
    me: Holder,
    console: Console,
    root: Path,
) -> None:
    """Remove them, several at once, whatever becomes of the others.

    Args:
        sweep: what to remove.
        target: where they run.
        names_of: returns a branch's names.
        tags: the registry, or None where it holds nothing.
        me: who, for everybody else who wants to change one of them meanwhile.
        console: where progress goes.
        root: the checkout.

    Raises:
        SuiteError: some could not be removed; the message names them.
    """
    failed: dict[str, SuiteError] = {}
    # Two branches may share a tag, and only the second one to go may take it along.
    one_at_a_time = threading.Lock()

    def clean(item: Stale, activity: Activity) -> int:
        names = names_of(item.summary.branch)
        of = Owner(names.environment, names.slug, names.branch, item.summary.repository)

        def plan() -> RemovalPlan:
            there = {each.branch: each for each in target.list()}.get(names.branch)
            if there and there.expires_at != item.summary.expires_at:
                # While this run waited for its turn; the next sweep judges anew.
                raise SuiteError("it was deployed anew meanwhile, and was left alone")
            return plan_cleanup(target, of, names, tags=None, protected=False, root=root)

        part = _Part(names.branch, activity)
        removed = run_cleanup(target, plan, names, me=me, console=part)
        with one_at_a_time:
            return removed + remove(plan_images(tags, names), lambda _: None)

    with console.work(f"remove {len(sweep.stale)} environments") as activity:
        pool = ThreadPoolExecutor(target.removed_at_once, thread_name_prefix="gc")
        try:
            running = {pool.submit(clean, item, activity): item for item in sweep.stale}
            for future in as_completed(running):
                branch = running[future].summary.branch
                try:
                    activity.say(f"{branch}: {future.result()} objects removed")
                except SuiteError as error:
                    failed[branch] = error
                    activity.say(f"{branch}: {' '.join(error.lines())}")
        finally:
            # Interrupted: what is under way is finished, nothing more is begun.
            pool.shutdown(cancel_futures=True)
        activity.outcome = f"{len(sweep.stale) - len(failed)} removed"
    if failed:
        raise SuiteError(
            f"{len(failed)} of {len(sweep.stale)} environments could not be removed: "
            f"{', '.join(sorted(failed))}",
            hint="run the same again: it goes on where this run stopped",
        )


class _Part:
    """What one clean-up of several says, with its branch before each line."""

    def __init__(self, branch: str, activity: Activity) -> None:
        self._branch = branch
        self._activity = activity

    def warn(self, text: str) -> None:
        """Tell something that the user should look at."""
        self._activity.say(f"{self._branch}: {text}")

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        """Pass on what happens as passing lines."""

        def line(text: str) -> None:
            self._activity.line(f"{self._branch}: {text}")

        yield Activity(line, line)
