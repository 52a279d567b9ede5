"""What the engine has of an environment, and whose it is."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace

from tasks.adapters.docker.engine import PROJECT, Container, Engine
from tasks.core.compose.record import RECORD, ComposeRecord, newest, owner_labels, owner_of
from tasks.core.environment import ADOPT, Owner
from tasks.core.errors import RefusedError
from tasks.core.names import Names

_REPLACEMENT = re.compile(r"^[0-9a-f]{12}_")
"""Compose makes a new container under the name of the old one with the old one's id before it; it
gets the name alone when the old one is gone. Until then it has never been started."""


@dataclass(frozen=True)
class Inventory:
    """What the engine has of one environment.

    Attributes:
        containers: those of `docker compose run` too.
        records: the names of the volumes that hold records, old ones too.
        volumes: the names of the others.
        networks: their names.
    """

    containers: tuple[Container, ...]
    record: ComposeRecord | None
    records: tuple[str, ...]
    volumes: tuple[str, ...]
    networks: tuple[str, ...]

    @property
    def services(self) -> dict[str, Container]:
        """The containers of its services, by service."""
        return {
            item.service: item
            for item in self.containers
            if not item.one_off and not is_replacement(item)
        }

    @property
    def leftovers(self) -> tuple[Container, ...]:
        """Containers that an interrupted run left behind, beside those of the services."""
        return tuple(item for item in self.containers if item.one_off or is_replacement(item))


def is_replacement(container: Container) -> bool:
    """Return True if a run was cut off before this new container could replace its service's.

    Where such a one is still there, Compose fails to replace the service: the name is in use.
    """
    return not container.one_off and bool(_REPLACEMENT.match(container.name))


def read_inventory(engine: Engine, project: str, owner: Owner) -> Inventory:
    """Return what the engine has of a project.

    Raises:
        RefusedError: some of it is not the owner's.
    """
    containers = engine.containers(f"{PROJECT}={project}")
    volumes = [
        item
        for item in engine.volumes()
        if item.project == project or item.name.startswith(f"{project}_")
    ]
    networks = [
        item
        for item in engine.networks()
        if item.project == project or item.name.startswith(f"{project}_")
    ]
    records = {item.name: item.labels for item in volumes if RECORD in item.labels}
    latest = newest(records)
    record = ComposeRecord.from_labels(records[latest]) if latest else None
    # What an adopted environment was made of keeps its labels; whose it is the record says.
    owners = (
        [owner, *(replace(owner, repository=each) for each in record.formerly)]
        if record
        else [owner]
    )
    for kind, objects in (
        ("container", containers),
        ("volume", volumes),
        ("network", networks),
    ):
        for item in objects:
            accepted = [owner] if item.name == latest else owners
            differences = [each.difference(owner_of(item.labels)) for each in accepted]
            if all(differences):
                raise RefusedError(
                    f"{kind} {item.name} is not {owner.branch}'s: {differences[0]}",
                    hint="nothing was touched; `docker inspect` shows its labels. Where its "
                    f"repository was renamed or moved: {ADOPT}",
                )
    return Inventory(
        containers=tuple(containers),
        record=record,
        records=tuple(records),
        volumes=tuple(item.name for item in volumes if item.name not in records),
        networks=tuple(item.name for item in networks),
    )


def write_record(engine: Engine, owner: Owner, names: Names, record: ComposeRecord) -> None:
    """Replace what is remembered of an environment.

    A kill in between leaves both records, of which the newest counts.
    """
    old = [item.name for item in engine.volumes(f"{PROJECT}={names.namespace}")]
    labels = {**owner_labels(owner), **record.to_labels(), PROJECT: names.namespace}
    prefix = f"{names.namespace}_record-"
    engine.create_volume(f"{prefix}{time.time_ns()}", labels)
    for name in old:
        if name.startswith(prefix):
            engine.remove_volume(name)
