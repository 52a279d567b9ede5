"""The record of an environment on a Docker Engine: the labels of an empty volume.

An engine's objects cannot be annotated, and a container's labels only change with the container.
So each deploy creates a new, empty volume whose labels are the record, and then removes the
previous one. The newest volume counts, so a run may be killed between the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from tasks.core.environment import Owner, Record
from tasks.core.errors import UnreadableError
from tasks.core.sleep import Pinned, Rest, Sleep, Wake, newest_time

PREFIX = "io.mautic-multidev."
ENVIRONMENT = f"{PREFIX}environment"
"""The label of every object of an environment: its name in invoke.yaml."""

BRANCH = f"{PREFIX}branch"
REPOSITORY = f"{PREFIX}repository"
RECORD = f"{PREFIX}record"
STYLE = f"{PREFIX}names"
"""The label of a record's volume with the style of the environment's names."""


@dataclass(frozen=True)
class ComposeRecord(Record):
    """The stored record of an environment on an engine.

    Attributes:
        database_image: the setting that the database's image was chosen by.
        database: the database's image, by digest; it is kept until that setting changes.
        migrated: the key of the last migration.
        services: for each service the fingerprint of the configuration it was started with.
        formerly: the repositories that owned it before, the last one at the end; their labels
            are still on the objects made then.
        asleep: that it was put to sleep.
        pin: that it is pinned.
    """

    database_image: str = ""
    database: str = ""
    migrated: str = ""
    services: Mapping[str, str] = field(default_factory=dict)
    formerly: tuple[str, ...] = ()
    asleep: Sleep | None = None
    pin: Pinned | None = None

    def rest(self, used_at: str, wake: Wake = Wake.NOT) -> Rest:
        """Return what is stored of its sleep.

        Args:
            used_at: when it was used last other than by a deploy, ISO 8601, or an empty string.
            wake: what the local platform's waker has done, which does not write to the record.
        """
        deployed_at = self.current.deployed_at if self.current else ""
        asleep = None if wake is Wake.DONE else self.asleep
        return Rest(asleep, self.pin, newest_time(used_at, deployed_at))

    def to_labels(self) -> dict[str, str]:
        """Return the record as a label."""
        return {RECORD: self.to_json()}

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> ComposeRecord:
        """Return the record that ``to_labels`` wrote.

        Raises:
            UnreadableError: it is damaged.
        """
        record = cls.from_json(labels[RECORD])
        record.rest("").checked()
        return record


def owner_labels(owner: Owner) -> dict[str, str]:
    """Return the labels of all objects of an environment."""
    return {PREFIX + name: value for name, value in asdict(owner).items()}


def labelled_owner(labels: Mapping[str, str]) -> dict[str, str]:
    """Return an object's owner from its labels, by the names of ``Owner``'s attributes."""
    return {
        key.removeprefix(PREFIX): value for key, value in labels.items() if key.startswith(PREFIX)
    }


def newest(names: Iterable[str]) -> str | None:
    """Return the newest record volume; their names end in an increasing number.

    Raises:
        UnreadableError: one has no number, so it was not made by the suite.
    """

    def number(name: str) -> int:
        digits = name.rpartition("-")[2]
        if not (digits.isascii() and digits.isdecimal()):
            raise UnreadableError(f"the volume {name} has a record, and no number in its name")
        return int(digits)

    return max(names, key=number, default=None)
