"""The settings of what an environment's processors, memory and storage cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.core.cost import Prices
from tasks.core.price_list import UNLISTED, Listed
from tasks.core.setting_values import Currency, NodeType, Price, Strict, Word


class PriceSettings(Strict):
    """What is paid for what a branch requests of the cluster, for `inv page` and `inv cost`."""

    cpu_hour: Price = Field(0, description="Price of a processor (vCPU) in an hour.")
    memory_hour: Price = Field(0, description="Price of a GiB of memory in an hour.")
    storage_month: Price = Field(
        0, description="Price of a GiB of storage in a month, asleep or awake."
    )
    currency: Currency = Field("USD", description="What the prices are in.")
    lists: tuple[Word, ...] = Field(
        (), description="Price lists of AWS, files of JSON or CSV (docs/fleet.md)."
    )
    node: NodeType = Field(
        "",
        description="Type of the nodes, such as `m6i.large`, whose price in `lists` stands for "
        "`cpu_hour` and `memory_hour`.",
    )
    storage: Literal["", "efs", "gp2", "gp3", "io1", "io2", "st1"] = Field(
        "", description="Kind of storage, whose price in `lists` stands for `storage_month`."
    )
    region: str = Field(
        "", description="The region whose prices in `lists` count (default: the stack's)."
    )

    @model_validator(mode="after")
    def _fits(self) -> PriceSettings:
        if bool(self.lists) != bool(self.node or self.storage):
            raise ValueError("lists and node or storage go together")
        if self.node and (self.cpu_hour or self.memory_hour):
            raise ValueError("node stands for cpu_hour and memory_hour: leave them out")
        if self.storage and self.storage_month:
            raise ValueError("storage stands for storage_month: leave it out")
        return self

    def prices(self, listed: Listed = UNLISTED) -> Prices:
        """Return the prices, with those of the lists."""
        return Prices(
            self.cpu_hour or listed.cpu_hour,
            self.memory_hour or listed.memory_hour,
            self.storage_month or listed.storage_month,
            self.currency,
        )


PriceChoice = Annotated[
    PriceSettings, Field(description="Kubernetes only: what its branches cost (docs/fleet.md).")
]
