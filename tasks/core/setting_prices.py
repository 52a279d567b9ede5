"""The settings of what an environment's processors, memory and storage cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.core.cost import Prices
from tasks.core.setting_values import Currency, Price, Strict


class PriceSettings(Strict):
    """What is paid for what a branch requests of the cluster, for `inv page` and `inv cost`."""

    cpu_hour: Price = Field(0, description="Price of a processor (vCPU) in an hour.")
    memory_hour: Price = Field(0, description="Price of a GiB of memory in an hour.")
    storage_month: Price = Field(
        0, description="Price of a GiB of storage in a month, asleep or awake."
    )
    currency: Currency = Field("USD", description="What the prices are in.")

    @property
    def prices(self) -> Prices:
        """The prices."""
        return Prices(self.cpu_hour, self.memory_hour, self.storage_month, self.currency)


PriceChoice = Annotated[
    PriceSettings, Field(description="Kubernetes only: what its branches cost (docs/fleet.md).")
]
