"""A plan: the steps of a run as data; a dry run prints it, a real run carries it out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

FIT = "fit"
"""The verb of the step that says that a cluster has enough left."""


@dataclass(frozen=True)
class Step:
    """One step of a plan.

    Attributes:
        verb: e.g. ``build``, ``tag``, ``create``, ``remove``, ``keep``.
        subject: the object, e.g. ``image nginx``.
    """

    verb: str
    subject: str
    reason: str = ""


def merged(steps: Iterable[Step]) -> list[Step]:
    """Return steps with those as one that do the same, for the same reason, to several objects."""
    subjects: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        subjects.setdefault((step.verb, step.reason), []).append(step.subject)
    return [Step(verb, ", ".join(same), why) for (verb, why), same in subjects.items()]


class Plan(Protocol):
    """A plan of any flow."""

    @property
    def title(self) -> str:
        """What the plan is about, e.g. ``deploy feature/x to local``."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they run; empty when there is nothing to do."""

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""


def render(plan: Plan) -> list[str]:
    """Return a plan as lines of text: the title, then a line per step with its reason.

    The lines have neither colours nor trailing blanks.
    """
    if not plan.steps:
        return [f"{plan.title}: nothing to do"]
    verb_width = max(len(step.verb) for step in plan.steps)
    lines = [f"{plan.title}:"]
    for step in plan.steps:
        line = f"  {step.verb:<{verb_width}}  {step.subject}"
        lines.append(f"{line}  ({step.reason})" if step.reason else line)
    return lines
