"""What is known about a local environment beside what runs: kept as labels of a small volume.

On Kubernetes a namespace's labels and annotations hold this. An engine has nothing that could be
annotated, and a container's labels only change with the container itself; so each deploy writes a
new, empty volume whose labels are the record, and then removes the one before. Reading takes the
newest, so that a kill between the two does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

PREFIX = "io.mautic-multidev."
ENVIRONMENT = f"{PREFIX}environment"
"""On everything that belongs to an environment: its name in invoke.yaml."""

PROJECT = f"{PREFIX}project"
BRANCH = f"{PREFIX}branch"
REPOSITORY = f"{PREFIX}repository"
RECORD = f"{PREFIX}record"

CODE = f"{PREFIX}code"
"""On the mautic image: stands for all of it that a migration depends on."""

HISTORY_MAX = 10
"""Successful deployments that are remembered for `inv rollback`."""


@dataclass(frozen=True)
class Owner:
    """Whose an environment is. All of it must match before anything is touched.

    Attributes:
        environment: the environment's name in invoke.yaml.
        slug: the branch's slug.
        branch: the full branch name.
        repository: where the repository lives.
    """

    environment: str
    slug: str
    branch: str
    repository: str

    def labels(self) -> dict[str, str]:
        """Return the labels that everything of the environment carries."""
        return {PREFIX + name: value for name, value in asdict(self).items()}

    def difference(self, labels: Mapping[str, str]) -> str | None:
        """Say in what an object's labels show another owner, or None when it is this one's."""
        for name, value in asdict(self).items():
            found = labels.get(PREFIX + name)
            if found is None:
                return f"it has no label {PREFIX}{name}"
            if found != value:
                return f"its {name} is {found!r}, not {value!r}"
        return None


@dataclass(frozen=True)
class Release:
    """One deployment that succeeded.

    Attributes:
        tag: the images' tag it was asked for.
        commit: the full commit, or an empty string where only a tag was given.
        mautic: the mautic image, by digest.
        nginx: the nginx image, by digest.
        owner: who deployed it, user@host.
        deployed_at: when, ISO 8601, UTC.
    """

    tag: str
    commit: str
    mautic: str
    nginx: str
    owner: str
    deployed_at: str

    def same_images(self, other: Release) -> bool:
        """Return True if both run the same images."""
        return (self.mautic, self.nginx) == (other.mautic, other.nginx)


def with_newest(history: tuple[Release, ...], release: Release) -> tuple[Release, ...]:
    """Return a history after one more success; the same release again takes the last one's place.

    Args:
        history: the successful deployments, the newest last.
        release: the one that just succeeded.
    """
    if history and history[-1].tag == release.tag and history[-1].same_images(release):
        history = history[:-1]
    return (*history, release)[-HISTORY_MAX:]


@dataclass(frozen=True)
class Record:
    """What is known about one environment.

    Attributes:
        state: ``deploying``, ``ready``, ``rolled back`` or ``failed``.
        url: where a browser finds it.
        expires_at: when it may be swept away, ISO 8601, or an empty string.
        database_image: the setting its database's image was chosen by.
        database: the database's image, by digest; it stays for the database's life.
        migrated: what the database was last migrated by.
        services: by service the fingerprint of the configuration it was started with.
        history: the successful deployments, the newest last.
    """

    state: str
    url: str
    expires_at: str = ""
    database_image: str = ""
    database: str = ""
    migrated: str = ""
    services: Mapping[str, str] = field(default_factory=dict)
    history: tuple[Release, ...] = ()

    @property
    def current(self) -> Release | None:
        """The last deployment that succeeded."""
        return self.history[-1] if self.history else None

    def with_release(self, release: Release) -> Record:
        """Return the record after a successful deployment."""
        return replace(self, state="ready", history=with_newest(self.history, release))

    def to_labels(self) -> dict[str, str]:
        """Return the record as a label."""
        return {RECORD: json.dumps({**asdict(self), "services": dict(self.services)})}

    @classmethod
    def from_labels(cls, labels: Mapping[str, str]) -> Record:
        """Return the record that ``to_labels`` wrote."""
        data: dict[str, Any] = json.loads(labels[RECORD])
        data["history"] = tuple(Release(**release) for release in data["history"])
        return cls(**data)


def newest(names: Iterable[str]) -> str | None:
    """Return the newest of some record volumes, whose names end in a growing number."""
    return max(names, key=lambda name: int(name.rpartition("-")[2]), default=None)
