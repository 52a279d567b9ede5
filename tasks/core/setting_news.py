"""The settings of who is told what has become of an environment."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tasks.core.setting_values import Strict, Variable


class NewsSettings(Strict):
    """Where `inv deploy`, `rollback` and `cleanup` tell what has become of an environment."""

    summary: str = Field(
        "",
        description="File to which it is appended as Markdown, as `--summary FILE` does; in GitHub "
        "Actions the file that `$GITHUB_STEP_SUMMARY` names.",
    )
    webhook: Variable | None = Field(
        None,
        description="Variable that holds the address of a chat's incoming webhook (Slack, "
        "Mattermost, Rocket.Chat, Google Chat): it is told failures and what is new. The address "
        "is a secret and stands nowhere else.",
    )


NewsChoice = Annotated[
    NewsSettings, Field(description="Who is told what has become of an environment.")
]
