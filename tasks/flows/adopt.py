"""Giving an environment to the repository that it belongs to now: one that was renamed or moved."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tasks.core.environment import Holder, Owner
from tasks.core.errors import RefusedError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.repository import is_same
from tasks.flows.target import EnvironmentSummary, Exclusive, Inspector, Say, owner_of
from tasks.flows.views import no_environment_error


class Rewrite(Protocol):
    """Writes down whose an environment is from now on; its lock is held meanwhile."""

    def __call__(self, owner: Owner, names: Names, former: str, /) -> None:
        """Write it; RefusedError if something of it is not the former repository's."""


@dataclass(frozen=True)
class AdoptionPlan:
    """What an adoption is going to do.

    Attributes:
        names: what the environment's branch is called.
        found: what is there.
        repository: whose it is going to be.
    """

    names: Names
    found: EnvironmentSummary
    repository: str

    @property
    def title(self) -> str:
        """What the plan is about."""
        return f"adopt {self.names.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step; none where it is the repository's already."""
        if is_same(self.found.repository, self.repository):
            return ()
        change = f"from {self.found.repository} to {self.repository}"
        return (Step("adopt", f"environment {self.names.branch}", change),)

    def rows(self) -> list[tuple[str, str]]:
        """Return what the environment is, for people to recognise it by."""
        found = self.found
        facts = {
            "environment": self.names.environment,
            "branch": found.branch,
            "repository": found.repository,
            "url": found.url,
            "state": found.state,
            "release": found.tag,
            "deployed by": found.owner,
            "deployed at": found.deployed_at,
        }
        return [(name, value or "-") for name, value in facts.items()]

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "found": asdict(self.found),
            "repository": self.repository,
            "steps": [asdict(step) for step in self.steps],
        }


def plan_adoption(inspector: Inspector, names: Names, repository: str, former: str) -> AdoptionPlan:
    """Return what is going to be adopted; reads only.

    Args:
        inspector: looks at environments.
        names: what the environment's branch is called.
        repository: whose it is going to be.
        former: whose it is now, as somebody says who knows.

    Raises:
        InputError: there is no such environment.
        RefusedError: it is another repository's than that.
    """
    found = next((item for item in inspector.list() if item.branch == names.branch), None)
    if found is None:
        raise no_environment_error(inspector, names)
    plan = AdoptionPlan(names, found, repository)
    if plan.steps and not is_same(found.repository, former):
        raise RefusedError(
            f"{names.branch} in {names.environment} is {found.repository}'s, not {former}'s",
            hint="nothing was touched; --from names whose it is now",
        )
    return plan


def run_adoption(
    plan: AdoptionPlan, exclusive: Exclusive, rewrite: Rewrite, *, me: Holder, warn: Say
) -> None:
    """Carry out a plan, while nobody else changes the environment.

    Raises:
        HeldError: somebody else is at work on it.
        RefusedError: something of it is not whose it was said to be.
    """
    with exclusive.exclusive(plan.names, me, warn):
        rewrite(owner_of(plan.names, plan.repository), plan.names, plan.found.repository)
