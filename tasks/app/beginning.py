"""Puts together what a new environment's database begins with: a seed, or another branch's data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tasks.app import data, wiring
from tasks.app.seeds import check_seed, find_seed
from tasks.app.session import Session
from tasks.core.environment_data import ALLOWED, SEED, Data, copied, seed_id
from tasks.core.errors import InputError
from tasks.core.names import Names
from tasks.flows.data import (
    Place,
    SeedSource,
    content,
    content_title,
    fill,
    plant,
    share,
)
from tasks.flows.data_copy import BranchSource
from tasks.flows.target import DeployPlan


def find(session: Session, names: Names, choice: str, *, dry: bool = False) -> Data:
    """Return the data that a choice other than ``empty`` means now.

    Args:
        session: the run.
        names: the new environment's.
        choice: ``seed``, or a choice as it is recorded.
        dry: only look: another branch that sleeps is not woken.

    Raises:
        InputError: there is no such seed or no key, or the other branch has no environment.
        RefusedError: whoever runs this has no right to the other branch.
        SettingsError: the settings do not say where seeds are kept.
        SuiteError: the store or the other environment cannot be read.
    """
    kind, _, name = choice.partition(":")
    if kind == SEED:
        source = find_seed(session, name)
        shares = session.settings.seeds.uploads == "share" and source.has_uploads
        return Data(f"{SEED}:{source.seed.id}", f"from {source.title}", shares)
    branch = name.partition(":")[0]
    with _told_what_is_taken():
        other = data.find_other(session, names, branch, dry=dry)
    begun_with = other.data.begun_with(other.owner, other.names)
    return Data(copied(branch, begun_with), f"from {branch}: {content_title(content(other))}")


def check(session: Session, names: Names, choice: str) -> None:
    """Check that there is the data of a choice other than ``empty``, and wake nothing for it.

    Arguments and errors as for ``find``; no key is asked for.
    """
    kind, _, name = choice.partition(":")
    if kind == SEED:
        check_seed(session, name)
        return
    with _told_what_is_taken():
        data.existing_other(session, names, name)


@contextlib.contextmanager
def _told_what_is_taken() -> Iterator[None]:
    """Add what ``--data`` takes to an error of what it was given."""
    try:
        yield
    except InputError as error:
        error.hint = f"{error.hint}; {ALLOWED}" if error.hint else ALLOWED
        raise


@dataclass(frozen=True)
class Bringer:
    """Brings the data that a new environment begins with; errors as for ``Beginning``."""

    session: Session

    def plant(self, plan: DeployPlan) -> None:
        """Load the seed of a plan into the server that branches share."""
        server = wiring.target(self.session, plan.request.names.environment).seeds
        assert server, "a plan that clones is of such a target"  # noqa: S101 - for the type
        plant(server, self._seed(plan), self.session.console)

    def share(self, plan: DeployPlan) -> None:
        """Put the uploads of a plan's seed where its branches share them."""
        there = wiring.target(self.session, plan.request.names.environment).uploads
        share(there, self._seed(plan), plan.release.mautic, self.session.console)

    def upload(self, plan: DeployPlan) -> None:
        """Put the uploads of a plan's seed in the place of what a fresh environment has."""
        source = self._seed(plan)
        source.put_uploads(self._place(plan), self.session.console)

    def fill(self, plan: DeployPlan) -> None:
        """Put the data of a plan in the place of a fresh installation."""
        names, console = plan.request.names, self.session.console
        place = self._place(plan)
        name = plan.data.choice.split(":")[1]
        if plan.data.kind == SEED:
            fill(place, self._seed(plan), console)
            return
        other = data.find_other(self.session, names, name)
        fill(place, BranchSource(other), console)

    def _seed(self, plan: DeployPlan) -> SeedSource:
        """Return the seed of a plan."""
        source = find_seed(self.session, seed_id(plan.data.choice))
        return replace(source, shared=plan.data.shares)

    def _place(self, plan: DeployPlan) -> Place:
        """Return the environment of a plan."""
        names = plan.request.names
        target = wiring.target(self.session, names.environment)
        return Place(plan.request.owner, names, target.data, target.deployer)
