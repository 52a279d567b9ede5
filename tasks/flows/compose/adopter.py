"""Transfers an environment on this machine to another repository, by its record.

The labels of volumes, networks and containers cannot be changed. Existing objects keep those of the
former repository, and the record lists the former repositories.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from tasks.core.compose.record import ComposeRecord
from tasks.core.environment import Holder, Owner, State
from tasks.core.names import Names
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.inventory import write_record
from tasks.flows.target import Say


@dataclass(frozen=True)
class ComposeAdopter:
    """Transfers environments; errors as for ``Adopter``."""

    context: ComposeContext

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return self.context.exclusive(names, me, warn)

    def adopt(self, owner: Owner, names: Names, former: str) -> None:
        """Write the new owner to the environment's record."""
        inventory = self.context.inventory(replace(owner, repository=former), names)
        record = inventory.record or ComposeRecord(State.FAILED, names.url)
        adopted = replace(record, formerly=(*record.formerly, former))
        write_record(self.context.engine, owner, names, adopted)
