"""The settings of what is asked of a cluster before a deploy: does it fit."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.core.setting_values import Count, Strict


class CapacitySettings(Strict):
    """What is checked before a deploy that starts something in a cluster."""

    check: bool = Field(
        True,
        description="Whether it is asked at all; `inv deploy --no-capacity-check` leaves it out "
        "once.",
    )
    autoscaler: bool = Field(
        False,
        description="Whether an autoscaler adds nodes: then nodes are not looked at.",
    )
    rules: Count | None = Field(
        None,
        description="Most rules of the load balancer: with `cluster.kind: eks` 100, the quota "
        "*Rules per Application Load Balancer*, unless it was raised; elsewhere they are not "
        "counted without it.",
    )
    access_points: Count = Field(
        10_000,
        description="Most access points of a file system of EFS: the quota in the account.",
    )


CapacityChoice = Annotated[
    CapacitySettings,
    Field(description="Kubernetes only: whether a branch fits (docs/deploying.md)."),
]
