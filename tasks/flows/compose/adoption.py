"""An environment of this machine is given to another repository by its record.

The labels of volumes, networks and containers cannot be changed. What is there keeps those of the
repository that made it, and the record says which that were.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.adapters.docker.engine import Engine
from tasks.core.compose.record import ComposeRecord
from tasks.core.environment import Owner, State
from tasks.core.names import Names
from tasks.flows.compose.inventory import read_inventory, write_record


def adopt(engine: Engine, owner: Owner, names: Names, former: str, /) -> None:
    """Make a branch's environment another repository's.

    Args:
        engine: the Docker Engine.
        owner: whose it is from now on.
        names: the branch's names.
        former: the repository that it belongs to.

    Raises:
        RefusedError: some of it is not that one's.
    """
    inventory = read_inventory(engine, names.namespace, replace(owner, repository=former))
    record = inventory.record or ComposeRecord(State.FAILED, names.url)
    adopted = replace(record, formerly=(*record.formerly, former))
    write_record(engine, owner, names, adopted)
