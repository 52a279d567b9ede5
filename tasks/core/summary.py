"""An environment as `inv list` and the page of all environments show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.core.cost import Requests
from tasks.core.environment import Failure, Owner, Record, State
from tasks.core.sleep import NO_REST, Rest


@dataclass(frozen=True)
class EnvironmentSummary:
    """One environment, as `inv list` shows it.

    Times are ISO 8601, or empty strings where they are not known.

    Attributes:
        repository: the repository that owns it.
        state: derived from its record and its services.
        tag: the tag of the images that were deployed last.
        commit: the full commit, or an empty string.
        owner: the user who deployed it last, user@host.
        deployed_at: the time of the last deploy.
        expires_at: when it expires.
        rest: that it sleeps or is pinned, and when it was used last.
        namespace: its namespace or Compose project.
        problem: why it cannot be read, or an empty string.
        checkout: the checkout that deployed it last (``Release``); empty if that is unknown.
        pushed: whether its branch had been seen on the remote by then; None if that is unknown.
        failure: the last deploy, if it failed and that was recorded.
        requests: what it requests of the cluster awake, as it was deployed; None if unknown.
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
    rest: Rest = NO_REST
    namespace: str = ""
    problem: str = ""
    checkout: str = ""
    pushed: bool | None = None
    failure: Failure | None = None
    requests: Requests | None = None

    @property
    def title(self) -> str:
        """The branch, or what is known instead; of a misnamed one both."""
        if self.state is State.MISNAMED:
            return f"{self.branch} in {self.namespace}"
        return self.branch or self.namespace


def unreadable(namespace: str, owner: Mapping[str, str], problem: str) -> EnvironmentSummary:
    """Return an environment of which something stored is damaged.

    Args:
        namespace: its namespace or Compose project.
        owner: what it says of its owner, by the names of ``Owner``'s attributes.
        problem: why it cannot be read.
    """
    return replace(_bare(namespace, owner, State.UNREADABLE), problem=problem)


def misnamed(
    namespace: str, owner: Mapping[str, str], *, deployed_by: str, created_at: str
) -> EnvironmentSummary:
    """Return an environment that has not its branch's name.

    Args:
        namespace: its namespace.
        owner: what it says of its owner, by the names of ``Owner``'s attributes.
        deployed_by: what it says of the user who deployed it.
        created_at: when it was created.
    """
    bare = _bare(namespace, owner, State.MISNAMED)
    return replace(bare, owner=deployed_by, created_at=created_at)


def _bare(namespace: str, owner: Mapping[str, str], state: State) -> EnvironmentSummary:
    """Return an environment of which no record is read."""
    branch, slug, repository = (owner.get(name, "") for name in ("branch", "slug", "repository"))
    return EnvironmentSummary(
        branch, slug, repository, "", state, "", "", "", "", "", "", namespace=namespace
    )


def summarize(
    owner: Owner,
    record: Record | None,
    *,
    url: str,
    state: State,
    created_at: str,
    namespace: str,
    rest: Rest = NO_REST,
    requests: Requests | None = None,
) -> EnvironmentSummary:
    """Return an environment as `inv list` shows it.

    Args:
        record: its record, or None.
        url: the site's URL.
        state: derived from its record and its services.
        created_at: ISO 8601, or an empty string.
        namespace: its namespace or Compose project.
        rest: that it sleeps or is pinned.
        requests: what it requests awake; None if unknown.
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
        rest=rest,
        namespace=namespace,
        checkout=current.checkout if current else "",
        pushed=current.pushed if current else None,
        failure=record.failure if record else None,
        requests=requests,
    )


def unreadable_lines(environments: Sequence[EnvironmentSummary]) -> list[str]:
    """Return a line for each environment that cannot be read, with the reason."""
    return [
        f"{item.title} in {item.namespace} cannot be read, and is left alone: {item.problem}"
        for item in environments
        if item.problem
    ]


def misnamed_lines(environments: Sequence[EnvironmentSummary]) -> list[str]:
    """Return a line for each environment that has not its branch's name."""
    return [
        f"{item.title}: not the namespace that the naming rule gives the branch; inv gc removes it"
        for item in environments
        if item.state is State.MISNAMED
    ]
