"""Points in time of a branch's database, and which of them a release can run on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.core.environment import Release, parse, parse_moment
from tasks.core.plural import number_of

SHOWN_MIGRATIONS = 5
"""How many migrations are named."""


@dataclass(frozen=True)
class Point:
    """One snapshot of a branch's database.

    Attributes:
        taken_at: ISO 8601, UTC.
        mautic: the version of Mautic whose program took it.
        why: what it was taken for.
        release: the tag or the image that was being deployed; empty if it was taken by hand.
        migration: the newest migration that its data has seen; empty where none is recorded, as in
            an empty database.
        open: whether migrations that began after it have not ended.
        half: whether it was itself taken of what such migrations had left.
        replaced: whether it is what a restore has replaced.
    """

    name: str
    taken_at: str
    mautic: str
    why: str
    tables: int
    rows: int
    release: str = ""
    migration: str = ""
    open: bool = False
    half: bool = False
    replaced: bool = False

    @property
    def title(self) -> str:
        """The snapshot in a few words."""
        return f"snapshot {self.name} of {self.taken_at} ({self.rows:,} rows, {self.why})"


@dataclass(frozen=True)
class Migrations:
    """The migrations of a code and of a database, by name, in order.

    Attributes:
        mautic: the version of Mautic's code.
        known: those that the code has.
        recorded: those that the database has seen.
    """

    mautic: str
    known: tuple[str, ...]
    recorded: tuple[str, ...]

    @property
    def newest(self) -> str:
        """The newest one that the code has; empty if it has none."""
        return max(self.known, key=_time, default="")

    @property
    def newer(self) -> tuple[str, ...]:
        """Those that the database has seen and the code does not have."""
        return tuple(sorted(set(self.recorded) - set(self.known)))


def read_points(text: str) -> list[Point]:
    """Return what ``mautic database snapshots`` writes, the oldest first.

    Raises:
        UnreadableError: it is something else.
    """
    return [parse(Point, line, "a snapshot") for line in text.splitlines()]


def read_migrations(text: str) -> Migrations:
    """Return what ``mautic database migrations`` writes.

    Raises:
        UnreadableError: it is something else.
    """
    return parse(Migrations, text, "the migrations")


def newer_than(recorded: Sequence[str], newest: str) -> tuple[str, ...]:
    """Return the migrations that a database has seen and that a release came before.

    Their names hold their time: of an earlier release only the newest one is stored.

    Args:
        recorded: what the database has seen.
        newest: the newest one that the release has.
    """
    return tuple(name for name in sorted(recorded, key=_time) if is_newer(name, newest))


def is_newer(migration: str, than: str) -> bool:
    """Return True if a migration is newer than another."""
    return _time(migration) > _time(than)


def _time(migration: str) -> str:
    """Return the digits of a migration's name, its time.

    Mautic has a Versionzz20230929183000, which is not the newest.
    """
    return re.sub(r"\D", "", migration)


def point_for(points: Sequence[Point], newest: str) -> Point | None:
    """Return the newest whole snapshot whose migrations a release knows, or None.

    Args:
        points: the oldest first.
        newest: the newest migration that the release has.
    """
    fits = [each for each in points if each.migration and not each.half]
    return next((each for each in reversed(fits) if not is_newer(each.migration, newest)), None)


def point_of(points: Sequence[Point], release: Release) -> Point | None:
    """Return the snapshot from before the migrations of the deploy that runs, or None.

    That of an earlier deploy of the same release is none; that which migrations were cut off after
    is.

    Args:
        points: the oldest first.
        release: what is deployed; its time is when this began.
    """
    begun = parse_moment(release.deployed_at)
    for each in reversed(points):
        is_of_it = each.release in {release.tag, release.mautic} and not each.half
        if each.open or (is_of_it and parse_moment(each.taken_at) >= begun):
            return each
    return None


def migration_before(points: Sequence[Point], release: Release) -> str:
    """Return the newest migration of a database before a release migrated it; empty if unknown.

    Args:
        points: the oldest first.
        release: one that has been deployed.
    """
    for each in reversed(points):
        if each.release in {release.tag, release.mautic} and not (each.half or each.replaced):
            return each.migration
    return ""


def surplus(points: Sequence[Point], most: int) -> tuple[Point, ...]:
    """Return what the image drops of snapshots: the oldest beyond a number.

    The one from before migrations that have not ended stays (docker/mautic/php/snapshots.php).

    Args:
        points: the oldest first.
        most: how many stay.
    """
    return tuple(each for each in points[: max(0, len(points) - most)] if not each.open)


def told(migrations: Sequence[str]) -> str:
    """Return how many migrations these are, and the names of the newest."""
    count = len(migrations)
    names = ", ".join(migrations[-SHOWN_MIGRATIONS:])
    more = f" and {count - SHOWN_MIGRATIONS} more" if count > SHOWN_MIGRATIONS else ""
    return f"{number_of(count, 'migration')} ({names}{more})"
