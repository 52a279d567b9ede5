"""The settings of RDS snapshots."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.core.setting_values import Count, Strict


class RdsSnapshotSettings(Strict):
    """Snapshots of the whole database server, for protected environments whose server is RDS."""

    keep: Annotated[int, Field(ge=0, le=50)] = Field(
        3,
        description="How many of those that deploys have taken are kept; `0`: no deploy takes "
        "one. Those that were taken by hand or by others stay.",
    )
    wait_minutes: Count = Field(
        60, description="How long one may take; then the deploy does not begin."
    )


SnapshotsChoice = Annotated[
    RdsSnapshotSettings,
    Field(
        description="Protected only, where `database.identifier` is known: snapshots of the whole "
        "server before a migration (docs/data.md)."
    ),
]
