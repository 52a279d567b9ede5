"""Transfers an environment to its repository's new address, after a rename or a move."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tasks.core.environment import Holder
from tasks.core.errors import RefusedError, UnreadableError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.repository import is_same
from tasks.core.summary import EnvironmentSummary
from tasks.flows.target import Adopter, Inspector, Say, owner_of
from tasks.flows.views import no_environment_error


@dataclass(frozen=True)
class AdoptionPlan:
    """What an adoption is going to do.

    Attributes:
        names: the branch's names.
        found: the environment as it is.
        repository: the repository that will own it.
    """

    names: Names
    found: EnvironmentSummary
    repository: str

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"adopt {self.names.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step; none if the repository owns it already."""
        if is_same(self.found.repository, self.repository):
            return ()
        change = f"from {self.found.repository} to {self.repository}"
        return (Step("adopt", f"environment {self.names.branch}", change),)

    def rows(self) -> list[tuple[str, str]]:
        """Return the environment's properties, so that the user can recognise it."""
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


def plan_adoption(
    inspector: Inspector, names: Names, repository: str, former: str, *, is_branch: bool
) -> AdoptionPlan:
    """Return the plan of an adoption; reads only.

    Args:
        inspector: lists environments.
        names: the branch's names.
        repository: the repository that will own it.
        former: the repository that owns it now, as named by the user.
        is_branch: as for ``no_environment_error``.

    Raises:
        InputError: there is no such environment.
        RefusedError: it belongs to another repository than the user said.
        UnreadableError: what is stored of it is damaged.
    """
    found = next((item for item in inspector.list() if item.branch == names.branch), None)
    if found is None:
        raise no_environment_error(inspector, names, is_branch=is_branch)
    if found.problem:
        raise UnreadableError(f"{names.branch} cannot be read: {found.problem}")
    plan = AdoptionPlan(names, found, repository)
    if plan.steps and not is_same(found.repository, former):
        raise RefusedError(
            f"{names.branch} in {names.environment} is {found.repository}'s, not {former}'s",
            hint="nothing was touched; --from names whose it is now",
        )
    return plan


def run_adoption(plan: AdoptionPlan, adopter: Adopter, *, me: Holder, warn: Say) -> None:
    """Carry out a plan under the environment's lock.

    Raises:
        HeldError: another run holds the lock.
        RefusedError: a part of it belongs to another repository.
    """
    with adopter.exclusive(plan.names, me, warn):
        adopter.adopt(owner_of(plan.names, plan.repository), plan.names, plan.found.repository)
