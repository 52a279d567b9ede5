"""What every place that can run a branch's environment offers to the flows and the tasks.

A target has three ports: the deployer makes and changes environments, the remover takes them away,
the inspector only looks. A flow is given the one that it uses.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tasks.adapters.http import Response
from tasks.core.environment import Holder, Owner, Record, Release, State
from tasks.core.errors import InputError
from tasks.core.names import Names
from tasks.core.plan import Step

# -- deploying ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """What somebody wants deployed.

    Attributes:
        deployed_by: who asks, user@host.
        tag: the images' tag; empty for a rollback to the release before the current one.
        commit: the full commit the tag stands for, or empty where only a tag is known.
        rollback: whether this goes back to a release that was deployed before.
    """

    names: Names
    repository: str
    deployed_by: str
    tag: str
    commit: str = ""
    rollback: bool = False

    @property
    def owner(self) -> Owner:
        """Whose environment this is."""
        return owner_of(self.names, self.repository)

    def release(self, record: Record | None, find_images: FindImages) -> Release:
        """Return the release that is meant, with its images by digest, as deployed now.

        Args:
            record: what is remembered of the environment, or None.
            find_images: asked for a tag that the record does not answer for.

        Raises:
            InputError: there is nothing to roll back to.
            RegistryError: there are no images of that tag.
        """
        earlier = self._earlier(record.history if record else ()) if self.rollback else None
        if earlier is None:
            images = find_images(self.tag)
            earlier = Release(self.tag, self.commit, images["mautic"], images["nginx"], "", "")
        deployed_at = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(earlier, owner=self.deployed_by, deployed_at=deployed_at)

    def _earlier(self, history: Sequence[Release]) -> Release | None:
        """Return the release that a rollback goes back to, or None when none of its tag is known.

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


def owner_of(names: Names, repository: str) -> Owner:
    """Return whose a branch's environment is."""
    return Owner(names.environment, names.slug, names.branch, repository)


class FindImages(Protocol):
    """Finds the images of a tag."""

    def __call__(self, tag: str, /) -> Mapping[str, str]:
        """Return the mautic and the nginx image by digest; RegistryError if there are none."""


@dataclass(frozen=True, kw_only=True)
class DeployPlan(ABC):
    """What a deploy is going to do; each target adds what it needs for that.

    Attributes:
        release: the images, and who deploys them when.
        record: what was known before, or None.
        expires_at: when the environment may be swept away, or an empty string.
    """

    request: Request
    release: Release
    record: Record | None
    expires_at: str

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The steps, in order; empty when everything is as it should be."""

    @property
    def title(self) -> str:
        """The plan's title."""
        verb = "roll back" if self.request.rollback else "deploy"
        names = self.request.names
        return f"{verb} {names.branch} to {names.environment} ({self.release.tag})"

    @property
    def is_first(self) -> bool:
        """Whether nothing was ever deployed successfully here."""
        return self.record is None or self.record.current is None

    @property
    def images(self) -> dict[str, str]:
        """The images, by digest."""
        return {"mautic": self.release.mautic, "nginx": self.release.nginx}

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.request.names.branch,
            "url": self.request.names.url,
            "tag": self.release.tag,
            "commit": self.release.commit,
            "images": self.images,
            "steps": [asdict(step) for step in self.steps],
        }


P = TypeVar("P", bound=DeployPlan)


ADMIN = "admin"
"""The user name of the first administrator."""


@dataclass(frozen=True)
class Credentials:
    """The administrator's first user name and password.

    Attributes:
        password: generated, and shown this once.
        later: the command that shows the password again.
    """

    username: str
    password: str
    later: str


def new_secrets() -> dict[str, str]:
    """Return new secrets for one branch, by the names of the files they become."""
    return {
        "db_password": secrets.token_urlsafe(24),
        "db_root_password": secrets.token_urlsafe(24),
        "secret_key": secrets.token_hex(32),
        "admin_password": secrets.token_urlsafe(15),
    }


Say = Callable[[str], None]
"""Tells of something in passing."""


class Exclusive(Protocol):
    """A place where one run at a time may change a branch's environment."""

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold off everybody else who would change this branch's environment.

        Raises:
            HeldError: somebody else holds it, or a newer deploy has superseded this one.
            VanishedError: it was removed while this run waited for its turn.
        """


class Deployer(Exclusive, Protocol[P]):
    """Makes and changes environments."""

    @property
    def smoke_seconds(self) -> float:
        """How long a site whose parts are all healthy may still answer with an error."""

    def prepare(self, request: Request) -> None:
        """Start what the environments of this target need before images can be looked up."""

    def plan_deploy(self, request: Request) -> P:
        """Return what a deploy would do; reads only."""

    def apply(self, plan: P) -> None:
        """Do it; raises SuiteError with the cause in one line."""

    def finish(self, plan: P) -> Credentials | None:
        """Remember the deployment; return the administrator of a first one."""

    def get(self, names: Names, path: str) -> Response:
        """Ask the branch's site for a path, as a visitor would."""

    def save_diagnostics(self, names: Names, folder: Path) -> None:
        """Write down what there is to see of a failure, without secrets."""

    def roll_back(self, plan: P) -> str | None:
        """Bring the release before back up; return its tag, or None where there is none.

        Raises:
            SuiteError: it does not come up either.
        """

    def newer_migrations(self, owner: Owner, names: Names) -> Sequence[str]:
        """Return the migrations that the database has executed and the running code lacks.

        Raises:
            SuiteError: the running code cannot be asked.
        """


# -- removing -------------------------------------------------------------------------------------


class Removal(Protocol):
    """Removes one object."""

    def __call__(self, say: Say, /) -> object:
        """Remove it, and say what it waits for."""


def without_messages(action: Callable[[], object]) -> Removal:
    """Return the removal of what goes at once, with nothing to tell."""

    def remove(_: Say, /) -> object:
        return action()

    return remove


@dataclass(frozen=True)
class RemovalPlan:
    """What a clean-up is going to do.

    Attributes:
        todo: one step per object, each with what carries it out.
        under_way: whether it has begun and goes on by itself, so that nobody need be held off.
    """

    title: str
    todo: tuple[tuple[Step, Removal], ...] = ()
    under_way: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per object."""
        return tuple(step for step, _ in self.todo)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, "steps": [asdict(step) for step in self.steps]}


class Remover(Exclusive, Protocol):
    """Takes environments away."""

    @property
    def parallel_removals(self) -> int:
        """How many environments may be removed at the same time."""

    def holds_images(self, *, dry: bool) -> bool:
        """Return True if there is a registry to remove images from; unless dry, reach it."""

    def plan_removal(self, owner: Owner, names: Names) -> RemovalPlan:
        """Return everything that belongs to the branch; reads only.

        Raises:
            RefusedError: something of it is somebody else's.
        """


# -- looking --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EnvironmentSummary:
    """One environment, as `inv list` shows it.

    Times are ISO 8601, or empty strings where they are not known.

    Attributes:
        repository: the repository it belongs to; another one's is never touched.
        state: what its record and its services come to.
        tag: the images' tag that was deployed last.
        commit: the full commit, or an empty string.
        owner: who deployed it last, user@host.
        deployed_at: the last time.
        expires_at: when it may be swept away.
    """

    branch: str
    slug: str
    repository: str
    url: str
    state: State
    tag: str
    commit: str
    owner: str
    created_at: str
    deployed_at: str
    expires_at: str


def summarize(
    owner: Owner, record: Record | None, *, url: str, state: State, created_at: str
) -> EnvironmentSummary:
    """Return an environment as `inv list` shows it.

    Args:
        owner: whose it is.
        record: what is remembered of it, or None.
        url: where a browser finds it.
        state: what its record and its services come to.
        created_at: ISO 8601, or an empty string.
    """
    current = record.current if record else None
    return EnvironmentSummary(
        branch=owner.branch,
        slug=owner.slug,
        repository=owner.repository,
        url=url,
        state=state,
        tag=current.tag if current else "",
        commit=current.commit if current else "",
        owner=current.owner if current else "",
        created_at=created_at,
        deployed_at=current.deployed_at if current else "",
        expires_at=record.expires_at if record else "",
    )


@dataclass(frozen=True)
class ServiceStatus:
    """One service of an environment, as `inv status` shows it.

    Attributes:
        state: in the words of the engine or the cluster.
        health: an empty string where nothing checks.
        image: by digest; an empty string for a scheduled command.
        tag: the tag that image was deployed as, or an empty string.
        uptime: how long it has been as it is, in the engine's words.
    """

    service: str
    state: str
    health: str
    image: str
    tag: str
    uptime: str


class Inspector(Protocol):
    """Looks at environments, and runs commands in them."""

    @property
    def is_private(self) -> bool:
        """Whether only this machine has them, those of branches that were never pushed, too."""

    def list(self) -> Sequence[EnvironmentSummary]:
        """Return all environments."""

    def status(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        """Return the services of one environment; empty when there is none."""

    def logs(
        self,
        owner: Owner,
        names: Names,
        on_line: Callable[[str], None],
        *,
        service: str,
        follow: bool,
        tail: int,
    ) -> None:
        """Pass on what services write, without secrets.

        Args:
            owner: whose they must be.
            names: what the branch is called.
            on_line: called with each line.
            service: only this one, or an empty string for all.
            follow: go on until interrupted.
            tail: lines per service to begin with.

        Raises:
            InputError: there is no such service.
        """

    def execute(self, owner: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        """Run a command in a service on this process's own terminal; return its exit status.

        Args:
            owner: whose it must be.
            names: what the branch is called.
            words: the command.
            service: where, or an empty string for where Mautic's PHP is.

        Raises:
            InputError: there is no such service.
        """


@dataclass(frozen=True)
class Target(Generic[P]):
    """A place that runs the environments of one environment of invoke.yaml."""

    deployer: Deployer[P]
    remover: Remover
    inspector: Inspector
