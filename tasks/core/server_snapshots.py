"""Snapshots of a whole database server: their names, their tags, and which of them are whose."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tasks.core.environment import Release
from tasks.core.names import Names

NAME_MAX = 255
"""https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSnapshot.html"""
TAG_MAX = 256
PREFIX = "mautic-multidev/"
PROJECT, ENVIRONMENT, BRANCH, SLUG, RELEASE, IMAGE, MIGRATION, WHY = (
    f"{PREFIX}{key}"
    for key in (
        *("project", "environment", "branch", "slug"),
        *("release", "image", "migration", "why"),
    )
)
"""The tags by which ours are known. ``MIGRATION`` is the newest one of the code that ran."""

AVAILABLE = "available"
CREATING = "creating"

SAME_AGE = timedelta(hours=2)
"""How old a snapshot may be for the same release not to take another: what was written since then
would only come back from RDS' own backups."""


@dataclass(frozen=True)
class ServerSnapshot:
    """One snapshot of a database server.

    Attributes:
        server: the server's identifier.
        taken_at: of which moment it is, ISO 8601, UTC; empty as long as the server has not begun.
        status: as the service calls it.
        percent: how much of it is done.
        tags: by key; a service restricts the characters.
    """

    name: str
    server: str
    taken_at: str
    status: str
    percent: int
    tags: Mapping[str, str]

    @property
    def release(self) -> str:
        """The tag of the release that it was taken for; empty if it was taken by hand."""
        return self.tags.get(RELEASE, "")

    @property
    def why(self) -> str:
        """What it was taken for."""
        return self.tags.get(WHY, "")

    @property
    def migration(self) -> str:
        """The newest migration of the code that ran; empty if unknown."""
        return self.tags.get(MIGRATION, "")

    @property
    def title(self) -> str:
        """The snapshot in a few words."""
        return f"RDS snapshot {self.name}" + (f" of {self.taken_at}" if self.taken_at else "")


@dataclass(frozen=True)
class SnapshotOrder:
    """A snapshot that is to be taken before something else is done.

    Attributes:
        server: the server's identifier.
        reason: why it is taken.
        there: whether it was taken already, though it may not be whole yet.
    """

    name: str
    server: str
    tags: Mapping[str, str]
    reason: str
    there: bool = False


COLUMNS = ("name", "taken", "newest migration", "state", "what for", "server")


def rows(snapshots: Sequence[ServerSnapshot]) -> list[tuple[str, ...]]:
    """Return snapshots as a table's rows, of ``COLUMNS``."""
    return [
        (
            *(each.name, each.taken_at, each.migration),
            each.status if each.status == AVAILABLE else f"{each.status}, {each.percent} %",
            *(each.why, each.server),
        )
        for each in snapshots
    ]


def snapshot_name(server: str, at: datetime, *parts: str) -> str:
    """Return the name of a new snapshot, which fits RDS' rules.

    Args:
        server: the server's identifier, which fits them itself.
        at: now.
        parts: what the name ends with, cut to fit.
    """
    # terraform/modules/ci gives the right to snapshots whose names begin like this.
    words = "-".join((f"{server}-at-{at:%Y%m%dt%H%M%Sz}", *parts)).lower()
    return re.sub(r"[^a-z0-9]+", "-", words)[:NAME_MAX].strip("-")


def owner_tags(project: str, names: Names) -> dict[str, str]:
    """Return the tags of all snapshots of a branch's environment."""
    own = {PROJECT: project, ENVIRONMENT: names.environment, SLUG: names.slug}
    return _valid({**own, BRANCH: names.branch})


def release_tags(current: Release, release: Release) -> dict[str, str]:
    """Return the tags of a snapshot that is taken before a release is deployed.

    Args:
        current: what runs.
        release: what is deployed.
    """
    return _valid(
        {
            RELEASE: release.tag,
            IMAGE: release.mautic.rpartition("@")[2],
            MIGRATION: current.migration,
            WHY: f"before {release.tag}",
        }
    )


def hand_tags(why: str) -> dict[str, str]:
    """Return the tags of a snapshot that is taken by hand."""
    return _valid({WHY: why})


def _valid(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags with what AWS takes in a value, without empty ones."""
    return {
        key: re.sub(r"[^\w\s.:/=+@-]", "_", value)[:TAG_MAX] for key, value in tags.items() if value
    }


def owned(snapshots: Sequence[ServerSnapshot], owner: Mapping[str, str]) -> list[ServerSnapshot]:
    """Return the snapshots that bear an environment's tags, the oldest first.

    One that the server has not begun yet is the newest.
    """
    mine = [each for each in snapshots if owner.items() <= each.tags.items()]
    return sorted(mine, key=lambda each: (not each.taken_at, each.taken_at, each.name))


def taken_for(mine: Sequence[ServerSnapshot], image: str, now: datetime) -> ServerSnapshot | None:
    """Return the newest snapshot that a release need not take again, or None.

    Args:
        mine: the environment's, the oldest first.
        image: the release's image, by digest.
        now: the time, with a zone.
    """
    for each in reversed(mine):
        if each.tags.get(IMAGE) != image.rpartition("@")[2]:
            continue
        is_new = not each.taken_at or now - datetime.fromisoformat(each.taken_at) <= SAME_AGE
        if each.status == CREATING or (each.status == AVAILABLE and is_new):
            return each
    return None


def surplus(mine: Sequence[ServerSnapshot], keep: int) -> list[ServerSnapshot]:
    """Return those that deploys have taken beyond the newest that are kept.

    Args:
        mine: the environment's, the oldest first.
        keep: how many are kept.
    """
    whole = [each for each in mine if each.release and each.status == AVAILABLE]
    return whole[: max(0, len(whole) - keep)]
