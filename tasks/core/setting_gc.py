"""The settings of `inv gc`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from tasks.core.images.retention import Policies, parse_policy
from tasks.core.setting_values import Duration, KeepText, Strict


class GcSettings(Strict):
    """What `inv gc` keeps besides what runs, sleeps, or can be rolled back to."""

    young_hours: Annotated[int, Field(ge=0, le=10_000)] = Field(
        2,
        description="For how many hours after its push an image is kept whatever becomes of it, "
        "and after its deploy an environment whose branch is gone.",
    )
    keep: tuple[KeepText, ...] = Field(
        (),
        description="Images that are kept by their tags, as globs, for ever, by number or by age "
        "since the push: `keep-*`, `v* newest 20`, `release-* for 90d`.",
    )

    gitlab_stopped: Duration | None = Field(
        "30d",
        description="How long a stopped environment of a branch stays on GitLab's page; needs a "
        "`GITLAB_TOKEN` (docs/gitlab.md).",
    )

    @property
    def policies(self) -> Policies:
        """What is kept of images."""
        kept = tuple(map(parse_policy, self.keep))
        return Policies(timedelta(hours=self.young_hours), kept)


GcChoice = Annotated[
    GcSettings,
    Field(description="What `inv gc` keeps of environments and images (docs/deploying.md)."),
]
