"""Sweeping away the environments that nobody needs any more, each by the ordinary clean-up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.adapters.git import Git
from tasks.adapters.terminal.console import Activity, Console
from tasks.core.environment import Holder, State
from tasks.core.errors import SuiteError
from tasks.core.images.tags import IMAGES, removable
from tasks.core.images.tags import slugs as slugs_of
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.repository import is_same
from tasks.flows.cleanup import (
    Tags,
    plan_cleanup,
    plan_images,
    plan_tags,
    remove,
    run_cleanup,
)
from tasks.flows.target import EnvironmentSummary, Inspector, RemovalPlan, Remover, owner_of
from tasks.flows.views import since

BUSY = frozenset({State.DEPLOYING, State.CHANGING})
"""States in which somebody is at work on an environment: it is not swept away under him."""

COLUMNS = ("branch", "age", "last deploy", "owner", "reason")
TAG_COLUMNS = ("image", "tag of a branch that is gone")


@dataclass(frozen=True)
class StaleEnvironment:
    """An environment to be swept away, and why."""

    summary: EnvironmentSummary
    reason: str


@dataclass(frozen=True)
class LeftoverTags:
    """Image tags of branches that were built, have no environment, and are gone.

    Attributes:
        repository: where they are.
        slugs: the slugs of the branches.
        tags: what nothing else uses, in the order to remove it.
        used: tags that environments use; of whichever branch, they stay.
    """

    repository: str
    slugs: frozenset[str]
    tags: tuple[str, ...]
    used: frozenset[str]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep is going to remove.

    Attributes:
        environment: its name in invoke.yaml.
        leftovers: image tags that no environment's clean-up will remove.
    """

    environment: str
    stale: tuple[StaleEnvironment, ...]
    leftovers: tuple[LeftoverTags, ...] = ()

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"sweep {self.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per environment, and one per repository with tags to be removed."""
        return (
            *(
                Step("remove", f"environment {item.summary.branch}", item.reason)
                for item in self.stale
            ),
            *(
                Step("remove", f"image tags of {each.repository}", ", ".join(each.tags))
                for each in self.leftovers
            ),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        stale = [{**asdict(item.summary), "reason": item.reason} for item in self.stale]
        tags = {each.repository: list(each.tags) for each in self.leftovers}
        return {"title": self.title, "environments": stale, "tags": tags}

    def tables(self, now: datetime) -> Iterator[tuple[Sequence[str], list[tuple[str, ...]]]]:
        """Yield columns and rows of the environments and of the tags, where there are any."""
        if self.stale:
            yield COLUMNS, self.rows(now)
        if self.leftovers:
            yield TAG_COLUMNS, self.tag_rows()

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

    def tag_rows(self) -> list[tuple[str, ...]]:
        """Return the image tags as rows: repository, tag."""
        return [(each.repository, tag) for each in self.leftovers for tag in each.tags]


def find_sweep(
    environment: str,
    inspector: Inspector,
    git: Git,
    names_of: Callable[[str], Names],
    *,
    tags: Tags | None,
    now: datetime,
) -> SweepPlan:
    """Return everything that may be swept away. Reads only.

    Args:
        environment: the environment's name.
        inspector: tells which environments there are.
        git: says which branches still exist.
        names_of: returns a branch's names.
        tags: the registry, or None where it holds nothing.
        now: the present moment.

    Raises:
        SuiteError: the target, the registry or the remote cannot be read.
    """
    # Before the branches: one that is pushed and built at this moment is not taken for gone.
    found = {repository: tags.tags(repository) for repository in IMAGES} if tags else {}
    branches = git.remote_branches() | (git.branches() if inspector.is_private else frozenset())
    there = inspector.list()
    sweep = plan_sweep(environment, there, repository=git.repository(), branches=branches, now=now)
    slugs = {names_of(branch).slug for branch in branches}
    return replace(sweep, leftovers=plan_leftovers(found, there, slugs))


def plan_sweep(
    environment: str,
    found: Sequence[EnvironmentSummary],
    *,
    repository: str,
    branches: Collection[str],
    now: datetime,
) -> SweepPlan:
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
        if not is_same(item.repository, repository) or item.state in BUSY:
            continue
        reasons = []
        if item.branch not in branches:
            reasons.append("its branch is gone")
        if item.expires_at and datetime.fromisoformat(item.expires_at) <= now:
            reasons.append("its time is over")
        if reasons:
            stale.append(StaleEnvironment(item, " and ".join(reasons)))
    return SweepPlan(environment, tuple(stale))


def plan_leftovers(
    found: Mapping[str, Mapping[str, str]],
    there: Sequence[EnvironmentSummary],
    slugs: Collection[str],
) -> tuple[LeftoverTags, ...]:
    """Return the image tags of branches that are gone without ever having been deployed.

    Those of a branch with an environment go with it, by its clean-up.

    Args:
        found: every tag with its digest, by repository, as it was before the branches were read.
        there: all environments there are.
        slugs: the slugs of the branches that still exist.
    """
    kept = {*slugs, *(item.slug for item in there)}
    used = frozenset(item.tag for item in there)
    leftovers = []
    for repository, tags in found.items():
        gone = slugs_of(tags) - kept
        if going := removable(tags, *gone, used=used):
            leftovers.append(LeftoverTags(repository, gone, going, used))
    return tuple(leftovers)


def run_sweep(
    sweep: SweepPlan,
    remover: Remover,
    inspector: Inspector,
    names_of: Callable[[str], Names],
    *,
    tags: Tags | None,
    me: Holder,
    console: Console,
    root: Path,
) -> None:
    """Remove environments, several at once, whatever becomes of the others; then image tags.

    Args:
        sweep: what to remove.
        remover: takes environments away.
        inspector: tells which there are.
        names_of: returns a branch's names.
        tags: the registry, or None where it holds nothing.
        me: who, for everybody else who wants to change one of them meanwhile.
        console: where progress goes.
        root: the checkout.

    Raises:
        SuiteError: some could not be removed; the message names them.
    """
    failure: SuiteError | None = None
    if sweep.stale:
        try:
            clean_ups = _CleanUps(remover, inspector, names_of, tags, me, root)
            _remove_stale(sweep.stale, clean_ups, remover.parallel_removals, console)
        except SuiteError as error:
            failure = error
    if sweep.leftovers and tags:
        with console.work("remove image tags") as activity:
            removed = _remove_leftovers(sweep.leftovers, tags, activity.line)
            activity.outcome = f"{removed} removed"
    if failure:
        raise failure


def _remove_leftovers(
    leftovers: Sequence[LeftoverTags], tags: Tags, say: Callable[[str], None]
) -> int:
    """Remove image tags, unless something has come to use them since."""
    going = {}
    for each in leftovers:
        now = removable(tags.tags(each.repository), *each.slugs, used=each.used)
        going[each.repository] = [tag for tag in now if tag in each.tags]
    remove(plan_tags("remove image tags", tags, going), say)
    return sum(map(len, going.values()))


@dataclass(frozen=True)
class _CleanUps:
    """The ordinary clean-ups of a sweep's environments; what they share is given once."""

    remover: Remover
    inspector: Inspector
    names_of: Callable[[str], Names]
    tags: Tags | None
    me: Holder
    root: Path
    # Two branches may share a tag, and only the second one to go may take it along.
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def run(self, item: StaleEnvironment, activity: Activity) -> int:
        """Remove one environment; return how many objects went."""
        names = self.names_of(item.summary.branch)
        owner = owner_of(names, item.summary.repository)

        def plan() -> RemovalPlan:
            there = {each.branch: each for each in self.inspector.list()}.get(names.branch)
            if there and there.expires_at != item.summary.expires_at:
                # While this run waited for its turn; the next sweep judges anew.
                raise SuiteError("it was deployed anew meanwhile, and was left alone")
            return plan_cleanup(
                self.remover, owner, names, tags=None, protected=False, root=self.root
            )

        console = _Prefixed(names.branch, activity)
        removed = run_cleanup(self.remover, plan, names, me=self.me, console=console)
        with self.one_at_a_time:
            return removed + remove(plan_images(self.tags, names), lambda _: None)


def _remove_stale(
    stale: Sequence[StaleEnvironment], clean_ups: _CleanUps, at_once: int, console: Console
) -> None:
    """Remove environments, several at once, whatever becomes of the others.

    Raises:
        SuiteError: some could not be removed; the message names them.
    """
    failed: dict[str, SuiteError] = {}
    with console.work(f"remove {len(stale)} environments") as activity:
        pool = ThreadPoolExecutor(at_once, thread_name_prefix="gc")
        running = {pool.submit(clean_ups.run, item, activity): item for item in stale}

        def tell(futures: Iterable[Future[int]]) -> None:
            for future in as_completed(futures):
                branch = running[future].summary.branch
                try:
                    activity.say(f"{branch}: {future.result()} objects removed")
                except SuiteError as error:
                    failed[branch] = error
                    activity.say(f"{branch}: {' '.join(error.lines())}")

        try:
            tell(running)
        except KeyboardInterrupt:
            # What is under way is finished, nothing more is begun.
            under_way = [each for each in running if not each.done() and not each.cancel()]
            branches = sorted(running[each].summary.branch for each in under_way)
            activity.say(f"interrupted; finishing {', '.join(branches) or 'nothing'}")
            tell(under_way)
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        activity.outcome = f"{len(stale) - len(failed)} removed"
    if failed:
        raise SuiteError(
            f"{len(failed)} of {len(stale)} environments could not be removed: "
            f"{', '.join(sorted(failed))}",
            hint="run the same again: it goes on where this run stopped",
        )


class _Prefixed:
    """What one clean-up of several says, with its branch before each line."""

    def __init__(self, branch: str, activity: Activity) -> None:
        self._branch = branch
        self._activity = activity

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._activity.say(f"{self._branch}: {text}")

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        """Pass on what happens as passing lines."""

        def line(text: str) -> None:
            self._activity.line(f"{self._branch}: {text}")

        yield Activity(line, line)
