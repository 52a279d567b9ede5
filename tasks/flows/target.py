"""What every place that can run a branch's environment offers to the flows and the tasks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tasks.adapters.http import Response
from tasks.adapters.lock import Holder
from tasks.core.errors import InputError
from tasks.core.naming import Names
from tasks.core.plan import Plan, Step
from tasks.core.record import Owner, Release


@dataclass(frozen=True)
class Request:
    """What somebody wants deployed.

    Attributes:
        names: the branch's names.
        repository: where the repository lives.
        owner: who asks, user@host.
        tag: the images' tag; empty for a rollback to the release before the current one.
        commit: the full commit the tag stands for, or empty where only a tag is known.
        rollback: whether this goes back to a release that was deployed before.
    """

    names: Names
    repository: str
    owner: str
    tag: str
    commit: str = ""
    rollback: bool = False

    @property
    def of(self) -> Owner:
        """Whose environment this is."""
        names = self.names
        return Owner(names.environment, names.slug, names.branch, self.repository)

    def earlier(self, history: Sequence[Release]) -> Release | None:
        """Return the release that a rollback goes back to, or None when none of its tag is known.

        Args:
            history: the successful deployments, the newest last.

        Raises:
            InputError: there is nothing to go back to, or it is what runs already.
        """
        current = history[-1] if history else None
        for release in reversed(history[:-1]):
            if release.tag == self.tag or (not self.tag and not release.same_images(history[-1])):
                return release
        if self.tag and not (current and current.tag == self.tag):
            return None
        tags = ", ".join(release.tag for release in history) or "nothing"
        raise InputError(
            f"there is no earlier release of {self.names.branch} to go back to",
            hint=f"deployed so far: {tags}",
        )


@dataclass(frozen=True)
class Credentials:
    """The administrator's first user name and password.

    Attributes:
        username: the user name.
        password: the generated password, shown once.
        later: the command that shows the password again.
    """

    username: str
    password: str
    later: str


Say = Callable[[str], None]
"""Tells of something in passing."""

Removal = Callable[[Say], object]
"""Removes one object; what it waits for is told."""


def silently(action: Callable[[], object]) -> Removal:
    """Return the removal of what goes at once, with nothing to tell."""

    def remove(_: Say) -> object:
        return action()

    return remove


@dataclass(frozen=True)
class RemovalPlan:
    """What a clean-up is going to do.

    Attributes:
        title: what is removed.
        steps: one per object.
        objects: how the target removes them, in the same order.
        going: whether it is under way already, so that nobody need be held off.
    """

    title: str
    steps: tuple[Step, ...]
    objects: tuple[Removal, ...]
    going: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, "steps": [asdict(step) for step in self.steps]}


@dataclass(frozen=True)
class Summary:
    """One environment, as `inv list` shows it.

    Attributes:
        branch: the full branch name.
        slug: its slug.
        repository: the repository it belongs to; another one's is never touched.
        url: where a browser finds it.
        state: ``running``, ``rolled back``, ``degraded``, ``stopped``, ``deploying``,
            ``removing``, ``interrupted`` or ``failed``.
        tag: the images' tag that was deployed last.
        commit: the full commit, or an empty string.
        owner: who deployed it.
        created_at: when it was made, ISO 8601, or an empty string.
        deployed_at: when it was deployed last, ISO 8601, or an empty string.
        expires_at: when it may be swept away, ISO 8601, or an empty string.
    """

    branch: str
    slug: str
    repository: str
    url: str
    state: str
    tag: str
    commit: str
    owner: str
    created_at: str
    deployed_at: str
    expires_at: str


@dataclass(frozen=True)
class Part:
    """One service of an environment, as `inv status` shows it.

    Attributes:
        service: its name.
        state: its state.
        health: its health, or an empty string where nothing checks.
        image: the image it runs, by digest.
        tag: the tag that image was deployed as, or an empty string.
        uptime: how long it has been as it is, in the engine's words.
    """

    service: str
    state: str
    health: str
    image: str
    tag: str
    uptime: str


class DeployPlan(Plan, Protocol):
    """A plan of a deploy."""

    @property
    def first(self) -> bool:
        """Whether nothing was ever deployed successfully here."""


class Target(Protocol):
    """A place that runs environments of one environment of invoke.yaml."""

    @property
    def is_private(self) -> bool:
        """Whether only this machine has them, those of branches that were never pushed, too."""

    @property
    def removed_at_once(self) -> int:
        """How many of them may be removed at the same time."""

    @property
    def smoke_seconds(self) -> float:
        """How long a site whose parts are all healthy may still answer with an error."""

    def exclusive(
        self, names: Names, me: Holder, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """Hold off everybody else who would change this branch's environment."""

    def prepare(self, request: Request) -> None:
        """Start what the environments of this target need before images can be looked up."""

    def plan_deploy(self, request: Request) -> Any:
        """Return what a deploy would do; reads only."""

    def apply(self, plan: Any) -> None:
        """Do it; raises SuiteError with the cause in one line."""

    def finish(self, plan: Any) -> Credentials | None:
        """Remember the deployment; returns the administrator of a first one."""

    def save_evidence(self, names: Names, folder: Path) -> None:
        """Write down what there is to see of a failure."""

    def roll_back(self, plan: Any) -> str | None:
        """Bring the release before back up; returns what that is, None where there is none."""

    def newer_migrations(self, of: Owner, names: Names) -> Sequence[str]:
        """Return the migrations that the database has seen and the code that runs does not have."""

    def get(self, names: Names, path: str) -> Response:
        """Ask the branch's site for a path, as a visitor would."""

    def holds_images(self, *, dry: bool) -> bool:
        """Return True if there is a registry to remove images from; unless dry, reach it."""

    def plan_removal(self, of: Owner, names: Names) -> RemovalPlan:
        """Return everything that belongs to the branch; reads only."""

    def list(self) -> Sequence[Summary]:
        """Return all environments."""

    def status(self, of: Owner, names: Names) -> Sequence[Part]:
        """Return the services of one environment; empty when there is none."""

    def logs(
        self,
        of: Owner,
        names: Names,
        on_line: Callable[[str], None],
        *,
        service: str,
        follow: bool,
        tail: int,
    ) -> None:
        """Pass on what services write, without secrets.

        Args:
            of: whose they must be.
            names: the branch's names.
            on_line: called with each line.
            service: only this one, or an empty string for all.
            follow: go on until interrupted.
            tail: lines per service to begin with.

        Raises:
            InputError: there is no such service.
        """

    def execute(self, of: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        """Run a command in a service on this process's own terminal; return its exit status.

        Args:
            of: whose it must be.
            names: the branch's names.
            words: the command.
            service: where, or an empty string for where Mautic's PHP is.

        Raises:
            InputError: there is no such service.
        """


def new_secrets() -> dict[str, str]:
    """Return new secrets for one branch, by the names of the files they become."""
    return {
        "db_password": secrets.token_urlsafe(24),
        "db_root_password": secrets.token_urlsafe(24),
        "secret_key": secrets.token_hex(32),
        "admin_password": secrets.token_urlsafe(15),
    }
