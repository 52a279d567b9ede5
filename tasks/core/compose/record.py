"""What an engine keeps of an environment beside its services: labels of a small volume.

An engine has nothing that could be annotated, and a container's labels only change with the
container itself; so each deploy writes a new, empty volume whose labels are the record, and then
removes the one before. Reading takes the newest, so that a kill between the two does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

from tasks.core.environment import Owner, Record

PREFIX = "io.mautic-multidev."
ENVIRONMENT = f"{PREFIX}environment"
"""On everything that belongs to an environment: its name in invoke.yaml."""

BRANCH = f"{PREFIX}branch"
REPOSITORY = f"{PREFIX}repository"
RECORD = f"{PREFIX}record"

CODE = f"{PREFIX}code"
"""On the mautic image: stands for all of it that a migration depends on."""


@dataclass(frozen=True)
class ComposeRecord(Record):
    """What is remembered of an environment on an engine.

    Attributes:
        database_image: the setting its database's image was chosen by.
        database: the database's image, by digest; it stays for the database's life.
        migrated: what the database was last migrated by.
        services: by service the fingerprint of the configuration it was started with.
        formerly: the repositories that it belonged to before, the last one at the end: what was
            made then still has their labels.
    """

    database_image: str = ""
    database: str = ""
    migrated: str = ""
    services: Mapping[str, str] = field(default_factory=dict)
    formerly: tuple[str, ...] = ()

    def to_labels(self) -> dict[str, str]:
        """Return the record as a label."""
        return {RECORD: self.to_json()}

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> ComposeRecord:
        """Return the record that ``to_labels`` wrote."""
        record = cls.from_json(labels[RECORD])
        return replace(record, formerly=tuple(record.formerly))  # a list in JSON


def owner_labels(owner: Owner) -> dict[str, str]:
    """Return the labels that everything of an environment carries."""
    return {PREFIX + name: value for name, value in asdict(owner).items()}


def owner_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Return what labels say of an object's owner, by the names of ``Owner``'s attributes."""
    return {
        key.removeprefix(PREFIX): value for key, value in labels.items() if key.startswith(PREFIX)
    }


def newest(names: Iterable[str]) -> str | None:
    """Return the newest of some record volumes, whose names end in a growing number."""
    return max(names, key=lambda name: int(name.rpartition("-")[2]), default=None)
