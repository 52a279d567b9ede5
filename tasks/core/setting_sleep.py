"""The settings of environments that sleep by themselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from tasks.core.durations import hours_of
from tasks.core.setting_values import Duration
from tasks.core.sleep_hours import SPAN, SleepRule, parse_span


def _of_a_week(text: str) -> str:
    parse_span(text)
    return text


def sleep_rule(hours: tuple[str, ...], idle: str | None) -> SleepRule:
    """Return when `inv gc` puts an environment's branches to sleep, by its settings."""
    return SleepRule(tuple(map(parse_span, hours)), hours_of(idle) if idle else 0)


SleepHours = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=SPAN), AfterValidator(_of_a_week)], ...],
    Field(
        description="When `inv gc` puts its branches to sleep, by the clock: hours, the days on "
        "which they begin and the time zone, `20:00-07:00 Mon-Fri Europe/Berlin`; `daily` for all "
        "days, `00:00-24:00` for a whole one. What was used in the last hour is left awake. "
        "Nothing wakes by the clock (docs/fleet.md)."
    ),
]
IdleTime = Annotated[
    Duration | None,
    Field(
        description="How long (`12h`, `2d`) nobody may have used a branch before `inv gc` puts it "
        "to sleep: a deploy, `inv console`, `shell`, `wake` or `db.*` is a use, and a visit where "
        "there is an `entrance`."
    ),
]
