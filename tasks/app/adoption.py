"""Puts together the adoption of an environment."""

from __future__ import annotations

from tasks.adapters.identity import this_run
from tasks.app import wiring
from tasks.app.branches import is_known
from tasks.app.session import Session
from tasks.core.errors import InputError
from tasks.core.names import Names
from tasks.flows.adopt import AdoptionPlan, plan_adoption, run_adoption


class BranchAdoption:
    """The adoption of a branch's environment by this repository.

    Args:
        session: the run.
        names: the branch's names.
        former: the repository that owns the environment now.
    """

    def __init__(self, session: Session, names: Names, former: str) -> None:
        if not former:
            raise InputError("--from is missing", hint="name the repository that it belongs to now")
        self._session = session
        self._names = names
        self._former = former
        self._target = wiring.target(session, names.environment, dry=True)

    def plan(self) -> AdoptionPlan:
        """Return what would be adopted. Reads only."""
        repository = self._session.git.repository()
        return plan_adoption(
            self._target.inspector,
            self._names,
            repository,
            self._former,
            is_branch=is_known(self._session, self._names.branch),
        )

    def confirm(self, given: str) -> None:
        """Make the user type the name of a protected environment.

        Args:
            given: the name from the command line, or an empty string.

        Raises:
            InputError: another name was given.
            RefusedError: another word was typed, or there is no terminal.
        """
        name = self._names.environment
        if given not in {"", name}:
            raise InputError(f"--name {given!r} is not the environment's name, {name}")
        if given or not self._session.settings.environment(name).protected:
            return
        self._session.confirm(
            name,
            "Its former repository can deploy to it no more.",
            refusal=f"{name} is protected: what is in it is adopted only by its name",
            hint=f"if that is meant, add: --name {name}",
        )

    def run(self, plan: AdoptionPlan) -> None:
        """Carry out the plan; errors as for ``run_adoption``."""
        me, warn = this_run("adopt"), self._session.console.warn
        run_adoption(plan, self._target.adopter, me=me, warn=warn)
