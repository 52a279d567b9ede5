"""Points in time of a branch's data: listed, taken, brought back, and chosen for a way back.

The programs are docker/mautic/php/snapshot.php and migrate.php: a snapshot is a database beside the
branch's own, and what a restored one replaces becomes a snapshot itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tasks.adapters.terminal.console import Console
from tasks.core.environment import Holder, Release
from tasks.core.errors import InputError, RefusedError, SuiteError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.points import (
    Migrations,
    Point,
    is_newer,
    migration_before,
    newer_than,
    point_for,
    point_of,
    read_migrations,
    read_points,
    surplus,
    told,
)
from tasks.flows.data import Place, look, outcome, put_database, run_program
from tasks.flows.target import Deployer, DeployPlan, P, Request, Say

LIST = ("mautic", "database", "snapshots")
MIGRATIONS = ("mautic", "database", "migrations")
OUTDATED = "database needs "
"""In what an image says that is from before these verbs: which ones it has."""
BY_HAND = 9
"""How many snapshots there may be when one is taken by hand: as many as the image can keep."""
COLUMNS = ("name", "taken", "newest migration", "rows", "what for", "before")


def answer(place: Place, words: Sequence[str], on_line: Say) -> str:
    """Run a program of the image in the branch's PHP container; return what it writes.

    Raises:
        SuiteError: it failed; the message is its own.
    """
    taken = bytearray()
    run_program(place, words, take=taken.extend, on_line=on_line, source=())
    return taken.decode()


def find_points(place: Place) -> list[Point]:
    """Return a branch's snapshots, the oldest first."""
    return read_points(answer(place, LIST, _ignore))


def find_migrations(place: Place) -> Migrations:
    """Return the migrations of the running code and of the database."""
    return read_migrations(answer(place, MIGRATIONS, _ignore))


def require_mautic(place: Place) -> Migrations:
    """Return the migrations of a branch whose database holds a Mautic.

    Raises:
        RefusedError: it is empty, or an installation in it was cut off.
    """
    found = find_migrations(place)
    if not found.recorded:
        raise RefusedError(
            f"the database of {place.names.branch} holds no whole Mautic: no migration is recorded "
            "in it",
            hint="inv db.reset installs one, inv db.restore brings a snapshot back",
        )
    return found


def restoring(point: Point, verb: str = "undo") -> tuple[str, ...]:
    """Return the command that puts a snapshot in the place of the data.

    Args:
        point: the snapshot.
        verb: ``undo`` uses the snapshot up, in no time: a site waits; ``restore`` keeps it.
    """
    return ("env", f"MAUTIC_SNAPSHOT={point.name}", "mautic", "database", verb)


def rows(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """Return snapshots as a table's rows, of ``COLUMNS``."""
    return [
        (
            each.name,
            each.taken_at,
            (each.migration or "no Mautic") + (" (half migrated)" if each.half else ""),
            f"{each.rows:,}",
            each.why + ("; those have not ended" if each.open else ""),
            each.release.rpartition("@")[2][:19],
        )
        for each in points
    ]


# -- by hand --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SnapshotPlan:
    """What taking a snapshot by hand does.

    Attributes:
        subject: of what.
        why: what it is taken for.
        dropped: the snapshots that go, the oldest beyond ``BY_HAND``.
    """

    names: Names
    subject: str
    why: str
    dropped: tuple[Point, ...] = ()

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"take a snapshot of {self.names.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        return (Step("take", f"a snapshot of {self.subject}", self.why), *_drops(self.dropped))

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.names.branch,
            "dropped": [each.name for each in self.dropped],
            "steps": [asdict(step) for step in self.steps],
        }


def plan_snapshot(place: Place, why: str) -> SnapshotPlan:
    """Return what taking a snapshot would do; reads only.

    Raises:
        RefusedError: the database holds no Mautic.
    """
    require_mautic(place)
    dropped = surplus(find_points(place), BY_HAND - 1)
    return SnapshotPlan(place.names, f"database {place.names.database}", why, dropped)


def take(
    place: Place, find_plan: Callable[[], SnapshotPlan], *, me: Holder, console: Console
) -> Point:
    """Take a snapshot now; writers wait meanwhile.

    Args:
        place: the branch's environment.
        find_plan: returns the plan, once the environment's lock is held.
        me: this run, as the holder of the lock.
        console: shows progress.

    Raises:
        RefusedError: the database holds no Mautic.
        SuiteError: it failed; there is no other snapshot then.
    """
    names = place.names
    with place.deployer.exclusive(names, me, console.warn):
        plan = find_plan()
        options = (f"MAUTIC_SNAPSHOTS={BY_HAND}", f"MAUTIC_SNAPSHOT_REASON={plan.why}")
        with console.work(f"take a snapshot of {names.database}") as activity:
            try:
                answer(place, ("env", *options, "mautic", "database", "snapshot"), activity.line)
            except KeyboardInterrupt as interrupt:
                was_taken = getattr(interrupt, "status", None) == 0
                console.warn("the snapshot was taken" if was_taken else "no snapshot was taken")
                raise
        _say_dropped(plan.dropped, console)
        taken = find_points(place)[-1]
    if taken.half:
        console.warn(f"{taken.title} is half migrated: it cannot be restored")
    return taken


def _drops(dropped: Sequence[Point]) -> tuple[Step, ...]:
    why = f"the oldest: at most {BY_HAND} are kept"
    return tuple(Step("drop", each.title, why) for each in dropped)


def _say_dropped(dropped: Sequence[Point], console: Console) -> None:
    for each in dropped:
        console.say(f"{each.title} was dropped, the oldest: at most {BY_HAND} are kept")


@dataclass(frozen=True)
class RestorePlan:
    """What bringing a snapshot back does.

    Attributes:
        dropped: the snapshots that go, for what is there becomes one.
    """

    names: Names
    point: Point
    dropped: tuple[Point, ...] = ()

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"restore the data of {self.names.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        database = f"database {self.names.database}"
        return (
            Step("keep", "what is there", "as a snapshot"),
            Step("restore", database, self.point.title),
            Step("migrate", database, "to the release that runs, before that"),
            *_drops(self.dropped),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.names.branch,
            "snapshot": asdict(self.point),
            "dropped": [each.name for each in self.dropped],
            "steps": [asdict(step) for step in self.steps],
        }


def plan_restore(place: Place, name: str) -> RestorePlan:
    """Return what bringing a snapshot back would do; reads only.

    Args:
        place: the branch's environment.
        name: which; empty for the newest that was taken of a Mautic: what a restore has replaced
            is left out, so that the same again does the same.

    Raises:
        InputError: there is no such snapshot.
        RefusedError: it is of a newer release than runs, half migrated, or of no Mautic.
    """
    points, branch = find_points(place), place.names.branch
    taken = [each for each in points if each.migration and not each.replaced]
    found = [each for each in points if each.name == name] if name else taken
    if not found:
        there = ", ".join(each.name for each in points)
        raise InputError(
            f"{branch} has no snapshot {name}"
            if name
            else f"{branch} has no snapshot that was taken of a whole Mautic",
            hint=f"it has: {there}; --name takes one of them"
            if there
            else "inv db.snapshot takes one",
        )
    point = found[-1]
    if not point.migration:
        raise RefusedError(
            f"{point.title} holds no whole Mautic: no migration is recorded in it",
            hint="inv db.reset installs Mautic anew",
        )
    if point.half:
        raise RefusedError(f"{point.title} is half migrated: no release runs on it")
    if is_newer(point.migration, find_migrations(place).newest):
        raise RefusedError(
            f"{point.title} has been migrated up to {point.migration}, which the release that runs "
            "does not know",
            hint="deploy the newer release first",
        )
    others = [each for each in points if each != point]
    return RestorePlan(place.names, point, surplus(others, BY_HAND - 2))


def restore(
    place: Place, find_plan: Callable[[], RestorePlan], *, me: Holder, console: Console
) -> RestorePlan:
    """Bring a snapshot back, migrate it to the release that runs, and look at the site.

    Args:
        place: the branch's environment.
        find_plan: returns the plan, once the environment's lock is held.
        me: this run, as the holder of the lock.
        console: shows progress.

    Raises:
        SuiteError: it failed; the message says what became of the data.
    """
    with place.deployer.exclusive(place.names, me, console.warn):
        plan = find_plan()
        title = f"restore {place.names.database}"
        put_database(place, restoring(plan.point, "restore"), title, console)
        _say_dropped(plan.dropped, console)
        try:
            look(place, console)
        except SuiteError as error:
            raise SuiteError(
                f"{plan.point.title} is in place, but {error.message}",
                hint="what was there before is a snapshot now: inv db.snapshots",
                output=error.output,
            ) from error
    return plan


# -- with a release -------------------------------------------------------------------------------


def plan_rollback(deployer: Deployer[P], request: Request, warn: Say) -> P:
    """Return what a rollback would do; reads only.

    Args:
        deployer: of the branch's target.
        request: the rollback.
        warn: told that the release goes back without knowing, as it always did, where it or the one
            that runs is of an earlier version of the suite.

    Raises:
        RefusedError: the database is newer than the release that it goes back to, and nobody has
            said what is to become of the data; or no snapshot fits.
        SuiteError: as for ``Deployer.plan_deploy``.
    """
    plan = deployer.plan_deploy(request)
    if request.keep_data:
        return plan
    tag, newest = plan.release.tag, plan.release.migration
    current = plan.record.current if plan.record else None
    try:
        points = read_points(deployer.aside(plan, LIST, _ignore))
        recorded = read_migrations(deployer.aside(plan, MIGRATIONS, _ignore)).recorded
    except SuiteError as error:
        if OUTDATED in (error.output or ""):
            return _in_doubt(
                plan, "the image that runs is of an earlier version of the suite", warn
            )
        raise RefusedError(
            f"whether the database is newer than {tag} cannot be asked: {error.message}",
            hint="--keep-data goes back without asking, and leaves the data as it is",
        ) from error
    half = next((each for each in points if each.open), None)
    if not newest and current:
        newest = migration_before(points, current)
    if not newest and not half:
        return _in_doubt(plan, f"{tag} was deployed by an earlier version of the suite", warn)
    newer = newer_than(recorded, newest) if newest else ()
    if not newer and not half:
        return plan
    point = half or point_for(points, newest)
    state = (
        f"the database has {told(newer)} that {tag} does not know"
        if newer
        else "the database is half migrated: migrations have not ended"
    )
    if point and request.with_data:
        return deployer.plan_deploy(replace(request, restore=point))
    if point:
        ways = f"--with-data goes back to {point.title}, too; "
    else:
        ways = f"{_other_way(request, newest)}, or deploy newer code; "
    raise RefusedError(state, hint=f"{ways}--keep-data runs {tag} on the database as it is")


def _other_way(request: Request, newest: str) -> str:
    """Return how data from before migrations is had where no snapshot is beside the database."""
    found = request.server.before(request.names, newest) if request.server and newest else None
    if found:
        return f"{found.title} is from before them: restore it into a new instance (docs/aws.md)"
    return "no snapshot is from before them: restore a backup"


def _in_doubt(plan: P, why: str, warn: Say) -> P:
    """Return a rollback's plan that leaves the data as it is, and warn of it.

    Raises:
        RefusedError: the data is to go back as well.
    """
    tag = plan.release.tag
    if plan.request.with_data:
        raise RefusedError(
            f"which data {tag} runs on is not known: {why}",
            hint="without --with-data it runs on the database as it is",
        )
    warn(f"whether the database is newer than {tag} is not known: {why}; the data stays as it is")
    return plan


def find_way_back(deployer: Deployer[P], plan: P) -> Point | None:
    """Return the snapshot from before the migrations of a deploy that has failed, or None.

    Raises:
        SuiteError: the database cannot be asked.
    """
    if plan.is_first or plan.request.restore:
        return None
    return point_of(read_points(deployer.aside(plan, LIST, _ignore)), plan.release)


def with_migration(deployer: Deployer[P], plan: P, console: Console) -> P:
    """Return a plan that is carried out, with the newest migration of its release."""
    current = plan.record.current if plan.record else None
    known = plan.release.migration
    if not known and current and current.mautic == plan.release.mautic:
        known = current.migration
    if not known:
        try:
            known = deployer.migrations(plan.request.owner, plan.request.names).newest
        except SuiteError as error:
            console.warn(f"which migrations {plan.release.tag} has is not known: {error.message}")
    release: Release = replace(plan.release, migration=known)
    return replace(plan, release=release)


@contextlib.contextmanager
def saying_data(plan: DeployPlan, point: Point | None, console: Console) -> Iterator[None]:
    """Say which data a branch has if this run is interrupted that puts a snapshot in its place.

    Args:
        plan: what is carried out.
        point: the snapshot; None if the data stays as it is.
        console: told which data there is.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if point:
            state = plan.restoring
            status = getattr(interrupt, "status", None) if state.has_begun else None
            status = 0 if state.is_done else status
            console.warn(outcome(plan.request.names, status, has_begun=state.has_begun))
        raise


def _ignore(_: str) -> None:
    """Take a line that nobody needs."""
