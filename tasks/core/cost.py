"""What an environment requests of a cluster, and what that costs by the prices of the settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tasks.core.environment import State

MONTH_HOURS = 730
"""Hours of a month, as AWS reckons: 8,760 hours of a year / 12."""
GIB = 1024**3
NOTHING_RUNS = frozenset({State.ASLEEP, State.STOPPED, State.REMOVED})
"""The states in which only storage is requested."""


Amount = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""As the API counts; a record that says something else is damaged."""


@dataclass(frozen=True)
class Requests:
    """What pods and claims of an environment request.

    Attributes:
        cpu: thousandths of a processor.
        memory: bytes.
        storage: bytes of its claims.
    """

    cpu: Amount = 0
    memory: Amount = 0
    storage: Amount = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(
            self.cpu + other.cpu, self.memory + other.memory, self.storage + other.storage
        )

    def times(self, count: int) -> Requests:
        """Return the requests of so many."""
        return Requests(self.cpu * count, self.memory * count, self.storage * count)

    def at_least(self, other: Requests) -> Requests:
        """Return the greater of both, each by itself."""
        return Requests(
            max(self.cpu, other.cpu),
            max(self.memory, other.memory),
            max(self.storage, other.storage),
        )

    def in_state(self, state: State) -> Requests:
        """Return what is requested in a state: asleep it is storage alone."""
        return Requests(storage=self.storage) if state in NOTHING_RUNS else self


NO_REQUESTS = Requests()


def total(requests: Iterable[Requests]) -> Requests:
    """Return the sum."""
    return sum(requests, NO_REQUESTS)


@dataclass(frozen=True)
class Prices:
    """What is paid for what is requested.

    Attributes:
        cpu_hour: of a processor in an hour.
        memory_hour: of a GiB of memory in an hour.
        storage_month: of a GiB of storage in a month.
        currency: e.g. ``USD``.
    """

    cpu_hour: float
    memory_hour: float
    storage_month: float
    currency: str

    @property
    def are_known(self) -> bool:
        """Whether there is any."""
        return bool(self.cpu_hour or self.memory_hour or self.storage_month)

    def month(self, requests: Requests) -> float:
        """Return what a month with these requests costs."""
        hourly = requests.cpu / 1000 * self.cpu_hour + requests.memory / GIB * self.memory_hour
        return hourly * MONTH_HOURS + requests.storage / GIB * self.storage_month


def processors(millis: int) -> str:
    """Return thousandths of a processor for a person: ``0.25``."""
    return f"{millis / 1000:,.2f}".rstrip("0").rstrip(".")


def gibibytes(count: int) -> str:
    """Return a number of bytes for a person: ``1.5 GiB``."""
    return f"{count / GIB:,.1f} GiB" if count else "0"
