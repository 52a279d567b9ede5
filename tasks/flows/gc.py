"""Sweeps environments that nobody needs any more, each by an ordinary clean-up."""

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
from tasks.core.environment import Holder, State, parse_moment
from tasks.core.errors import SuiteError, UnreadableError
from tasks.core.images.tags import IMAGES, removable
from tasks.core.images.tags import slugs as slugs_of
from tasks.core.names import Names, is_branch
from tasks.core.plan import Step
from tasks.core.rehearsal import is_rehearsal
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

SPARED = frozenset({State.DEPLOYING, State.CHANGING, State.UNREADABLE})
"""States of environments that are not swept: a run is changing them, or nothing of them is known.
"""

MISNAMED = "its namespace is not what the naming rule gives its branch"

COLUMNS = ("branch", "age", "last deploy", "owner", "reason")
TAG_COLUMNS = ("image", "tag of a branch that is gone")


@dataclass(frozen=True)
class StaleEnvironment:
    """An environment to be swept away, and why."""

    summary: EnvironmentSummary
    reason: str


@dataclass(frozen=True)
class LeftoverTags:
    """Image tags of deleted branches that were built, but have no environment.

    Attributes:
        repository: their repository.
        slugs: the slugs of the branches.
        tags: the tags that nothing else uses, in the order of removal.
        used: tags that any environment uses; they are kept.
    """

    repository: str
    slugs: frozenset[str]
    tags: tuple[str, ...]
    used: frozenset[str]


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep.

    Attributes:
        environment: its name in invoke.yaml.
        leftovers: image tags that no environment's clean-up will remove.
        unreadable: environments that cannot be read; they are kept, with their tags.
    """

    environment: str
    stale: tuple[StaleEnvironment, ...]
    leftovers: tuple[LeftoverTags, ...] = ()
    unreadable: tuple[EnvironmentSummary, ...] = ()

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"sweep {self.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per environment, and one per repository with tags to be removed."""
        return (
            *(
                Step("remove", f"environment {item.summary.title}", item.reason)
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
        unreadable = [asdict(item) for item in self.unreadable]
        return {
            "title": self.title,
            "environments": stale,
            "tags": tags,
            "unreadable": unreadable,
        }

    def tables(self, now: datetime) -> Iterator[tuple[Sequence[str], list[tuple[str, ...]]]]:
        """Yield columns and rows of the environments and of the tags, if there are any."""
        if self.stale:
            yield COLUMNS, self.rows(now)
        if self.leftovers:
            yield TAG_COLUMNS, self.tag_rows()

    def rows(self, now: datetime) -> list[tuple[str, ...]]:
        """Return the environments as rows: branch, age, last deploy, owner, reason."""
        return [
            (
                item.summary.title,
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
    """Return the plan of a sweep. Reads only.

    Args:
        environment: the environment's name.
        inspector: lists the environments.
        git: lists the branches.
        names_of: returns a branch's names.
        tags: the registry, or None if it is empty.
        now: the present time.

    Raises:
        SuiteError: the target, the registry or the remote cannot be read.
    """
    # Read before the branches, so that one that is pushed and built now is not taken for deleted.
    found = {repository: tags.tags(repository) for repository in IMAGES} if tags else {}
    branches = git.remote_branches() | (git.branches() if inspector.is_private else frozenset())
    repository = git.repository()
    swept = inspector.list(repository)
    there = [item for item in swept if item.state is not State.MISNAMED]
    sweep = plan_sweep(environment, swept, repository=repository, branches=branches, now=now)
    # Anybody may have pushed a branch whose name the suite refuses: it has no environment.
    known = {*branches, *(item.branch for item in there)}
    slugs = {each for branch in filter(is_branch, known) for each in names_of(branch).slugs}
    return replace(sweep, leftovers=plan_leftovers(found, there, slugs))


def plan_sweep(
    environment: str,
    found: Sequence[EnvironmentSummary],
    *,
    repository: str,
    branches: Collection[str],
    now: datetime,
) -> SweepPlan:
    """Return the plan to remove environments: expired, misnamed, of deleted branches.

    Args:
        environment: the environment's name.
        found: all environments.
        repository: only environments of this repository are removed.
        branches: the branches that exist.
        now: the present time.
    """
    stale = []
    for item in found:
        if not is_same(item.repository, repository) or item.state in SPARED:
            continue
        reasons = []
        if item.branch not in branches and not is_rehearsal(item.branch):
            reasons.append("its branch is gone")
        if item.state is State.MISNAMED:
            reasons.append(MISNAMED)
        if item.expires_at and parse_moment(item.expires_at) <= now:
            reasons.append("its time is over")
        if reasons:
            stale.append(StaleEnvironment(item, " and ".join(reasons)))
    return SweepPlan(
        environment, tuple(stale), unreadable=tuple(item for item in found if item.problem)
    )


def plan_leftovers(
    found: Mapping[str, Mapping[str, str]],
    there: Sequence[EnvironmentSummary],
    slugs: Collection[str],
) -> tuple[LeftoverTags, ...]:
    """Return the image tags of deleted branches that have no environment.

    Those of a branch with an environment are removed by its clean-up.

    Args:
        found: every tag with its digest, by repository, read before the branches.
        there: all environments. If one cannot be read and does not even tell its slug, any tag may
            be its own, and none is removed.
        slugs: the slugs of the branches that exist or have an environment.
    """
    if any(not item.slug for item in there):
        return ()
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
    """Remove environments in parallel, each independently of the others; then image tags.

    Args:
        sweep: the plan.
        remover: removes environments.
        inspector: lists environments.
        names_of: returns a branch's names.
        tags: the registry, or None if it is empty.
        me: this run, as the holder of the environments' locks.
        console: shows progress.
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
    """Remove image tags, unless something uses them since the plan was made."""
    going = {}
    for each in leftovers:
        now = removable(tags.tags(each.repository), *each.slugs, used=each.used)
        going[each.repository] = [tag for tag in now if tag in each.tags]
    remove(plan_tags("remove image tags", tags, going), say)
    return sum(map(len, going.values()))


@dataclass(frozen=True)
class _CleanUps:
    """The clean-ups of a sweep's environments, and what they share."""

    remover: Remover
    inspector: Inspector
    names_of: Callable[[str], Names]
    tags: Tags | None
    me: Holder
    root: Path
    # Two branches may share a tag, which only the second clean-up may remove.
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def run(self, item: StaleEnvironment, activity: Activity) -> int:
        """Remove one environment; return the number of removed objects."""
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

        console = _Prefixed(names.branch, activity)
        removed = run_cleanup(self.remover, plan, names, me=self.me, console=console)
        with self.one_at_a_time:
            return removed + remove(plan_images(self.tags, names), lambda _: None)


def _remove_stale(
    stale: Sequence[StaleEnvironment], clean_ups: _CleanUps, at_once: int, console: Console
) -> None:
    """Remove environments in parallel, each independently of the others.

    Raises:
        SuiteError: some could not be removed; the message names them.
    """
    failed: dict[str, SuiteError] = {}
    with console.work(f"remove {len(stale)} environments") as activity:
        pool = ThreadPoolExecutor(at_once, thread_name_prefix="gc")
        running = {pool.submit(clean_ups.run, item, activity): item for item in stale}

        def tell(futures: Iterable[Future[int]]) -> None:
            for future in as_completed(futures):
                title = running[future].summary.title
                try:
                    activity.say(f"{title}: {future.result()} objects removed")
                except SuiteError as error:
                    failed[title] = error
                    activity.say(f"{title}: {' '.join(error.lines())}")

        try:
            tell(running)
        except KeyboardInterrupt:
            # Running clean-ups are finished, no others are started.
            under_way = [each for each in running if not each.done() and not each.cancel()]
            titles = sorted(running[each].summary.title for each in under_way)
            activity.say(f"interrupted; finishing {', '.join(titles) or 'nothing'}")
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
    """A console for one of several clean-ups: it prefixes each line with the branch."""

    def __init__(self, branch: str, activity: Activity) -> None:
        self._branch = branch
        self._activity = activity

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._activity.say(f"{self._branch}: {text}")

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        """Yield an activity whose messages are shown as transient lines."""

        def line(text: str) -> None:
            self._activity.line(f"{self._branch}: {text}")

        yield Activity(line, line)
