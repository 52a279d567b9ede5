"""The objects of an environment on the engine, and their owner."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tasks.adapters.docker.engine import Container, Engine, stranded
from tasks.core.compose import stages
from tasks.core.compose.record import (
    RECORD,
    STYLE,
    ComposeRecord,
    labelled_owner,
    newest,
    owner_labels,
)
from tasks.core.compose.stages import PROJECT
from tasks.core.environment import ADOPT, Owner
from tasks.core.errors import RefusedError, UnreadableError
from tasks.core.names import Names


@dataclass(frozen=True)
class Inventory:
    """The objects of one environment on the engine.

    Attributes:
        containers: including those of `docker compose run`.
        records: the names of the volumes with records, including old ones.
        volumes: the names of the other volumes.
        networks: the names of the networks.
        stranded: the names of containers that cannot be started: a network of theirs is gone.
    """

    containers: tuple[Container, ...]
    record: ComposeRecord | None
    records: tuple[str, ...]
    volumes: tuple[str, ...]
    networks: tuple[str, ...]
    stranded: frozenset[str]

    @property
    def shown(self) -> tuple[str, ...]:
        """The volumes with a working tree's files, which `inv dev` makes."""
        return tuple(name for name in self.volumes if "_dev-" in name)

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
        """Containers that an interrupted run left behind."""
        return tuple(item for item in self.containers if item.one_off or is_replacement(item))


def is_replacement(container: Container) -> bool:
    """Return True if an interrupted run left this container before it replaced the old one."""
    return not container.one_off and stages.is_replacement(container.name)


def read_inventory(engine: Engine, project: str, owner: Owner) -> Inventory:
    """Return the objects of a project on the engine.

    Raises:
        RefusedError: an object has another owner.
        UnreadableError: its record is damaged.
    """
    containers = engine.containers(f"{PROJECT}={project}")
    volumes = [
        item
        for item in engine.volumes()
        if item.project == project or item.name.startswith(f"{project}_")
    ]
    all_networks = engine.networks()
    networks = [
        item
        for item in all_networks
        if item.project == project or item.name.startswith(f"{project}_")
    ]
    records = {item.name: item.labels for item in volumes if RECORD in item.labels}
    record, latest = _newest_record(project, records)
    # Objects of an adopted environment keep their labels; the record has the owner.
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
            differences = [each.difference(labelled_owner(item.labels)) for each in accepted]
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
        stranded=frozenset(item.name for item in stranded(containers, all_networks)),
    )


def _newest_record(
    project: str, records: Mapping[str, Mapping[str, str]]
) -> tuple[ComposeRecord | None, str | None]:
    """Return the newest record, and its volume."""
    try:
        latest = newest(records)
        return (ComposeRecord.from_labels(records[latest]) if latest else None), latest
    except UnreadableError as error:
        error.message = f"{project}: {error.message}"
        error.hint = "remove the volume, and deploy the branch again: docker volume rm " + " ".join(
            sorted(records)
        )
        raise


def write_record(engine: Engine, owner: Owner, names: Names, record: ComposeRecord) -> None:
    """Replace an environment's record.

    If the run is killed in between, both records exist, and the newest counts.
    """
    old = _records(engine, names)
    labels = {
        **owner_labels(owner),
        **record.to_labels(),
        STYLE: names.style,
        PROJECT: names.namespace,
    }
    engine.create_volume(f"{_record_prefix(names)}{time.time_ns()}", labels)
    for name in old:
        engine.remove_volume(name)


def remove_record(engine: Engine, names: Names) -> None:
    """Remove an environment's record."""
    for name in _records(engine, names):
        engine.remove_volume(name)


def _records(engine: Engine, names: Names) -> list[str]:
    found = engine.volumes(f"{PROJECT}={names.namespace}")
    return [item.name for item in found if item.name.startswith(_record_prefix(names))]


def _record_prefix(names: Names) -> str:
    return f"{names.namespace}_record-"
