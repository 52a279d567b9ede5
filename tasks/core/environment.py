"""A branch's environment on any target: its owner, its state, its releases, the holder of its lock.

Each target stores a ``Record`` with further fields of its own: Compose in the labels of a volume
(``core/compose/record.py``), a cluster in an annotation of the namespace
(``core/kubernetes/record.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Self, TypeVar

from pydantic import BeforeValidator, TypeAdapter, ValidationError

from tasks.core.errors import UnreadableError
from tasks.core.repository import is_same

T = TypeVar("T")

HISTORY_MAX = 10
"""Successful deployments that are remembered for `inv rollback`, and as many that failed."""


PIPELINE = "CI"
"""What stands for the checkout of a pipeline's job: the next job has another one."""

ADOPT = "inv adopt --from FORMER"
"""The command for a user whose repository's address differs from an environment's."""


class State(StrEnum):
    """The state of an environment.

    A record holds one of the first six. `inv list` shows a state derived from the record and the
    running services (``observed_state``).
    """

    DEPLOYING = "deploying"
    READY = "ready"
    ROLLED_BACK = "rolled back"
    """The last deploy failed, and the release before it runs again."""
    FAILED = "failed"
    """The last deploy failed, and there was no release to roll back to, or that failed, too."""
    REMOVING = "removing"
    REMOVED = "removed"
    """Only the namespace is left, because it has objects that are not the suite's."""

    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPED = "stopped"
    ASLEEP = "asleep"
    """`inv sleep` or `inv gc` has stopped its services, and `inv wake` starts them again."""
    CHANGING = "changing"
    """A run holds its lock for something else than a deploy or a clean-up."""
    INTERRUPTED = "interrupted"
    """A deploy or a clean-up was interrupted, and no run holds the lock."""
    UNREADABLE = "unreadable"
    """What is stored of it is damaged, so nothing is known of it and nothing is done to it."""
    MISNAMED = "misnamed"
    """Its namespace is not what the naming rule gives its branch: only `inv gc` touches it."""


@dataclass(frozen=True)
class Owner:
    """The owner of an environment. All attributes must match before anything is changed."""

    environment: str
    slug: str
    branch: str
    repository: str

    def difference(self, found: Mapping[str, str]) -> str | None:
        """Return how an object's owner differs from this one, or None if it does not.

        Args:
            found: the object's owner, by the names of this class's attributes.
        """
        for name, value in asdict(self).items():
            if name not in found:
                return f"it has no {name}"
            is_address = name == "repository"
            if found[name] != value and not (is_address and is_same(found[name], value)):
                return f"its {name} is {found[name]!r}, not {value!r}"
        return None


@dataclass(frozen=True)
class Release:
    """One deployment that succeeded.

    Attributes:
        tag: the requested tag of the images.
        commit: the full commit, or an empty string if only a tag was given.
        mautic: the mautic image, by digest.
        nginx: the nginx image, by digest.
        owner: the user who deployed it, user@host.
        deployed_at: ISO 8601, UTC.
        migration: the newest migration that its code has; empty if that is unknown.
        checkout: the checkout that deployed it, user@host:folder, or ``PIPELINE``; empty if that
            is unknown.
        pushed: whether its branch had been seen on the remote by then; None if that is unknown.
        cause: why it failed to be deployed, in one line without secrets; empty if it did not, or
            if that is unknown.
    """

    tag: str
    commit: str
    mautic: str
    nginx: str
    owner: str
    deployed_at: str
    migration: str = ""
    checkout: str = ""
    pushed: bool | None = None
    cause: str = ""

    def same_images(self, other: Release) -> bool:
        """Return True if both run the same images."""
        return (self.mautic, self.nginx) == (other.mautic, other.nginx)


CAUSE_MAX = 300
"""Characters of a failure's cause that are remembered."""


@dataclass(frozen=True)
class Failure:
    """The last deploy of an environment, if it failed.

    Attributes:
        tag: the tag of the images that were to be deployed.
        at: ISO 8601, UTC.
        cause: why, in one line without secrets.
    """

    tag: str
    at: str
    cause: str

    @classmethod
    def of(cls, tag: str, at: str, cause: str) -> Self:
        """Return a failure, with its cause cut to one line; arguments as the attributes."""
        line = " ".join(cause.split())
        return cls(tag, at, line if len(line) <= CAUSE_MAX else f"{line[: CAUSE_MAX - 1]}…")


def _known_state(value: object) -> object:
    """Return a state that this version of the suite knows in place of one that it does not."""
    return value if value in list(State) or not isinstance(value, str) else State.DEPLOYING


_FAILED = frozenset({State.FAILED, State.ROLLED_BACK})
"""The stored states of an environment whose last deploy has failed."""


def _is_later(one: Release, other: Release) -> bool:
    return parse_moment(one.deployed_at) > parse_moment(other.deployed_at)


@dataclass(frozen=True)
class Record:
    """The stored record of an environment.

    Attributes:
        state: the result of the last change.
        url: the site's URL.
        expires_at: when it may be swept away, ISO 8601, or an empty string.
        history: the successful deployments, the newest last.
        failures: what failed to be deployed, and when it did, the newest last.
        registry: the place of the registry with the images of its last deploy, which is known
            before any of them runs; empty if it is older than this note.
        data: what its database began with (``environment_data``), or an empty string if it is
            older than that choice.
        shares: whether it shares the uploads of that seed with others, in place of a copy.
    """

    state: Annotated[State, BeforeValidator(_known_state)]
    url: str
    expires_at: str = ""
    history: tuple[Release, ...] = ()
    data: str = ""
    failures: tuple[Release, ...] = ()
    registry: str = ""
    shares: bool = False

    @property
    def current(self) -> Release | None:
        """The last deployment that succeeded."""
        return self.history[-1] if self.history else None

    @property
    def last(self) -> Release | None:
        """What the last deploy that has ended was to deploy, or None."""
        tried = (*self.history, *self.failures)
        return max(tried, key=lambda each: parse_moment(each.deployed_at), default=None)

    @property
    def failure(self) -> Failure | None:
        """The last deploy, if it failed; None if it did not, or nobody knows why."""
        last = self.failures[-1] if self.failures else None
        if last is None or not last.cause or self.state is State.READY:
            return None
        current = self.current
        # While the next one runs the state does not tell how the last one ended: the times do.
        if self.state not in _FAILED and current and _is_later(current, last):
            return None
        return Failure(last.tag, last.deployed_at, last.cause)

    def with_release(self, release: Release) -> Self:
        """Return the record after a successful deployment.

        If the last release is deployed again, it is replaced.
        """
        history = self.history
        if history and history[-1].tag == release.tag and history[-1].same_images(release):
            history = history[:-1]
        history = (*history, release)[-HISTORY_MAX:]
        return replace(self, state=State.READY, history=history)

    def with_failure(self, release: Release, failure: Failure | None) -> Self:
        """Return the record after a deployment that failed.

        Args:
            release: what was to be deployed.
            failure: why it was not, if that is known.
        """
        if failure:
            release = replace(release, deployed_at=failure.at, cause=failure.cause)
        failures = (*self.failures, release)[-HISTORY_MAX:]
        return replace(self, state=State.FAILED, failures=failures)

    def to_json(self) -> str:
        """Return the record as text for ``from_json``."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that ``to_json`` wrote.

        The branches of one project may have different versions of this suite, and read each other's
        records. So unknown fields are ignored, and an unknown state counts as an unfinished deploy.

        Raises:
            UnreadableError: it is not what ``to_json`` writes, or a time in it is none.
        """
        record = parse(cls, text, "the record")
        tried = (*record.history, *record.failures)
        moments = [record.expires_at, *(each.deployed_at for each in tried)]
        for moment in moments:
            if moment:
                parse_moment(moment)
        return record


def parse(kind: type[T], text: str | bytes, what: str) -> T:
    """Return a dataclass from its JSON text, which anybody may have written.

    Args:
        kind: the dataclass; unknown fields are ignored.
        what: what the text is, for the error.

    Raises:
        UnreadableError: the text is no such dataclass.
    """
    try:
        # mypy does not take every class for hashable.
        found: T = _adapter(kind).validate_json(text)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UnreadableError(
            f"{what} cannot be read: {f'{where}: ' if where else ''}{first['msg']}"
        ) from error
    return found


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def parse_moment(text: str) -> datetime:
    """Return a stored time, ISO 8601; UTC where it names no time zone.

    Raises:
        UnreadableError: it is no time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnreadableError(f"{text!r} is no time") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def observed_state(
    record: Record | None,
    *,
    doing: State | None,
    stopped: bool,
    complete: bool,
    asleep: bool = False,
) -> State:
    """Return the state of an environment as `inv list` shows it.

    Args:
        record: its record, or None.
        doing: the state while a run holds its lock, or None.
        stopped: whether none of its services runs or is starting.
        complete: whether all of them run and are healthy.
        asleep: whether it was put to sleep.
    """
    if doing:
        return doing
    if record is None or record.state in {State.DEPLOYING, State.REMOVING}:
        return State.INTERRUPTED
    if stopped and asleep:
        return State.ASLEEP
    if record.state in {State.REMOVED, State.FAILED}:
        return record.state
    if stopped or not complete:
        return State.STOPPED if stopped else State.DEGRADED
    return State.ROLLED_BACK if record.state is State.ROLLED_BACK else State.RUNNING


_STATE_OF_ACTION = {
    "deploy": State.DEPLOYING,
    "rollback": State.DEPLOYING,
    "cleanup": State.REMOVING,
}


@dataclass(frozen=True)
class Holder:
    """One run of this suite that holds an environment's lock, or waits for it.

    Attributes:
        owner: user@host.
        pid: process id on that host.
        since: when the run began, ISO 8601, UTC.
        action: e.g. ``deploy``.
        commit: the commit or tag that it deploys, or an empty string.
        committed: that commit's time in seconds since 1970, or 0.
        job: URL of its CI job, or an empty string.
    """

    owner: str
    pid: int
    since: str
    action: str
    commit: str = ""
    committed: int = 0
    job: str = ""

    @property
    def identity(self) -> str:
        """A unique name of this run, for a Lease's ``holderIdentity``."""
        return self.job or f"{self.owner} (process {self.pid})"

    @property
    def doing(self) -> State:
        """The state of the environment while this run holds it."""
        return _STATE_OF_ACTION.get(self.action, State.CHANGING)

    def supersedes(self, other: Holder) -> bool:
        """Return True if this waiter's deploy is newer than `other`'s, and so supersedes it."""
        if self.commit == other.commit:
            return False
        if self.committed and other.committed and self.committed != other.committed:
            return self.committed > other.committed
        return self.since > other.since

    def __str__(self) -> str:
        who = ", ".join(filter(None, (self.owner, self.job)))
        what = f"{self.action} {self.commit}".strip()
        return f"{who} (pid {self.pid}, {what}) since {self.since[:19]} UTC"
