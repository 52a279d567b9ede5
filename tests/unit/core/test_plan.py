"""Plans: what a dry run prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.core.plan import Step, merged, render


@dataclass(frozen=True)
class Example:
    title: str
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"steps": len(self.steps)}


def test_a_step_is_a_line_with_its_reason() -> None:
    plan = Example(
        "build main",
        (Step("build", "image nginx", "its files changed"), Step("retag", "image mautic")),
    )
    assert render(plan) == [
        "build main:",
        "  build  image nginx  (its files changed)",
        "  retag  image mautic",
    ]


def test_a_plan_without_steps_says_so() -> None:
    assert render(Example("clean up main", ())) == ["clean up main: nothing to do"]


def test_steps_that_do_the_same_for_the_same_reason_are_merged() -> None:
    why = "it is not there"
    web, cron = Step("create", "service web", why), Step("create", "service cron", why)
    other = Step("migrate", "database x")
    assert merged((web, other, cron)) == [
        Step("create", "service web, service cron", why),
        other,
    ]
