"""What the engine has of an environment, and whose it is."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.adapters.engine import PROJECT, Container, Engine
from tasks.adapters.lock import Holder
from tasks.core.errors import RefusedError
from tasks.core.naming import Names
from tasks.core.record import RECORD, Owner, Record, newest
from tasks.flows.target import Summary

_REPLACEMENT = re.compile(r"^[0-9a-f]{12}_")
"""Compose makes a new container under the name of the old one with the old one's id before it; it
gets the name alone when the old one is gone. Until then it has never been started."""


@dataclass(frozen=True)
class State:
    """What the engine has of one environment.

    Attributes:
        containers: its containers, those of `docker compose run` too.
        record: what is known of it, or None.
        records: the names of the volumes that hold records, old ones too.
        volumes: its other volumes.
        networks: its networks.
    """

    containers: tuple[Container, ...]
    record: Record | None
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


def read_state(engine: Engine, project: str, of: Owner) -> State:
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
    for kind, objects in (
        ("container", containers),
        ("volume", volumes),
        ("network", networks),
    ):
        for item in objects:
            difference = of.difference(item.labels)
            if difference:
                raise RefusedError(
                    f"{kind} {item.name} is not {of.branch}'s: {difference}",
                    hint="nothing was touched; `docker inspect` shows its labels",
                )
    records = {item.name: item.labels for item in volumes if RECORD in item.labels}
    latest = newest(records)
    return State(
        containers=tuple(containers),
        record=Record.from_labels(records[latest]) if latest else None,
        records=tuple(records),
        volumes=tuple(item.name for item in volumes if item.name not in records),
        networks=tuple(item.name for item in networks),
    )


def write_record(engine: Engine, of: Owner, names: Names, record: Record) -> None:
    """Replace what is known of an environment.

    A kill in between leaves both records, of which the newest counts.
    """
    old = [item.name for item in engine.volumes(f"{PROJECT}={names.namespace}")]
    labels = {**of.labels(), **record.to_labels(), PROJECT: names.namespace}
    prefix = f"{names.namespace}_record-"
    engine.create_volume(f"{prefix}{time.time_ns()}", labels)
    for name in old:
        if name.startswith(prefix):
            engine.remove_volume(name)


_DOING = {"deploy": "deploying", "rollback": "deploying", "cleanup": "removing"}


def summary(
    names: Names,
    repository: str,
    record: Record | None,
    containers: Sequence[Container],
    holder: Holder | None,
) -> Summary:
    """Return one environment as `inv list` shows it.

    Args:
        names: the branch's names.
        repository: whose it is.
        record: what is known of it, or None.
        containers: its containers.
        holder: who is changing it right now, or None.
    """
    current = record.current if record else None
    running = [item for item in containers if item.state == "running" and not item.one_off]
    services = [item for item in containers if not item.one_off]
    if holder is not None:
        state = _DOING.get(holder.action, "changing")
    elif record is None or record.state == "deploying":
        state = "interrupted"
    elif record.state == "failed":
        state = "failed"
    elif not running:
        state = "stopped"
    elif len(running) < len(services) or any(item.health == "unhealthy" for item in running):
        state = "degraded"
    else:
        state = "running" if record.state == "ready" else record.state
    return Summary(
        branch=names.branch,
        slug=names.slug,
        repository=repository,
        url=names.url,
        state=state,
        tag=current.tag if current else "",
        commit=current.commit if current else "",
        owner=current.owner if current else "",
        # The oldest release that is remembered: an engine's labels have no better answer.
        created_at=record.history[0].deployed_at if record and record.history else "",
        deployed_at=current.deployed_at if current else "",
        expires_at=record.expires_at if record else "",
    )
