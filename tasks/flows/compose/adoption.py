"""Transfers an environment on this machine to another repository, by its record.

The labels of volumes, networks and containers cannot be changed. Existing objects keep those of the
former repository, and the record lists the former repositories.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.adapters.docker.engine import Engine
from tasks.core.compose.record import ComposeRecord
from tasks.core.environment import Owner, State
from tasks.core.names import Names
from tasks.flows.compose.inventory import read_inventory, write_record


def adopt(engine: Engine, owner: Owner, names: Names, former: str, /) -> None:
    """Transfer a branch's environment to another repository.

    Args:
        engine: the Docker Engine.
        owner: the new owner.
        names: the branch's names.
        former: the repository that owns it now.

    Raises:
        RefusedError: a part of it belongs to another repository.
    """
    inventory = read_inventory(engine, names.namespace, replace(owner, repository=former))
    record = inventory.record or ComposeRecord(State.FAILED, names.url)
    adopted = replace(record, formerly=(*record.formerly, former))
    write_record(engine, owner, names, adopted)
