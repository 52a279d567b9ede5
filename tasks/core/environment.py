"""What a branch's environment is, wherever it runs: whose, how far it came, what was deployed.

Each target keeps a ``Record`` where it can: Compose in the labels of a volume
(``core/compose/record.py``), a cluster in an annotation of the namespace
(``core/kubernetes/record.py``), and each adds what it alone has to remember.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

from tasks.core.repository import is_same

HISTORY_MAX = 10
"""Successful deployments that are remembered for `inv rollback`."""


ADOPT = "inv adopt --from FORMER"
"""What a person runs whose repository has another address than the one that an environment has."""


class State(StrEnum):
    """The state of an environment.

    A record holds one of the first six. `inv list` shows what these and the running services come
    to (``observed_state``).
    """

    DEPLOYING = "deploying"
    READY = "ready"
    ROLLED_BACK = "rolled back"
    """The last deploy failed, and the release before it runs again."""
    FAILED = "failed"
    """The last deploy failed, and nothing was there to go back to, or that failed as well."""
    REMOVING = "removing"
    REMOVED = "removed"
    """Only the namespace is left, because somebody else's objects are in it."""

    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPED = "stopped"
    CHANGING = "changing"
    """Somebody holds its lock for something that is neither a deploy nor a clean-up."""
    INTERRUPTED = "interrupted"
    """A deploy or a clean-up was cut off: nobody is at work on it any more."""


@dataclass(frozen=True)
class Owner:
    """Whose an environment is. All of it must match before anything is touched."""

    environment: str
    slug: str
    branch: str
    repository: str

    def difference(self, found: Mapping[str, str]) -> str | None:
        """Return how an object's owner differs from this one, or None if it does not.

        Args:
            found: what the object says, by the names of this class's attributes.
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
        tag: the images' tag it was asked for.
        commit: the full commit, or an empty string where only a tag was given.
        mautic: the mautic image, by digest.
        nginx: the nginx image, by digest.
        owner: who deployed it, user@host.
        deployed_at: ISO 8601, UTC.
    """

    tag: str
    commit: str
    mautic: str
    nginx: str
    owner: str
    deployed_at: str

    def same_images(self, other: Release) -> bool:
        """Return True if both run the same images."""
        return (self.mautic, self.nginx) == (other.mautic, other.nginx)


@dataclass(frozen=True)
class Record:
    """What is remembered of an environment between two runs.

    Attributes:
        state: how far the last change came.
        url: where a browser finds it.
        expires_at: when it may be swept away, ISO 8601, or an empty string.
        history: the successful deployments, the newest last.
    """

    state: State
    url: str
    expires_at: str = ""
    history: tuple[Release, ...] = ()

    @property
    def current(self) -> Release | None:
        """The last deployment that succeeded."""
        return self.history[-1] if self.history else None

    def with_release(self, release: Release) -> Self:
        """Return the record after a successful deployment.

        The same release once more takes the last one's place.
        """
        history = self.history
        if history and history[-1].tag == release.tag and history[-1].same_images(release):
            history = history[:-1]
        return replace(self, state=State.READY, history=(*history, release)[-HISTORY_MAX:])

    def to_json(self) -> str:
        """Return the record as text for ``from_json``."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that ``to_json`` wrote.

        What a newer version of this suite has added is left out: the branches of one project may
        carry different versions, and see each other's environments.
        """
        data = _known(cls, json.loads(text))
        data["state"] = State(data["state"])
        data["history"] = tuple(Release(**_known(Release, each)) for each in data["history"])
        return cls(**data)


def _known(cls: type[Record | Release], data: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: data[field.name] for field in fields(cls) if field.name in data}


def observed_state(
    record: Record | None, *, doing: State | None, stopped: bool, complete: bool
) -> State:
    """Return the state of an environment as `inv list` shows it.

    Args:
        record: what is remembered of it, or None.
        doing: what somebody is doing to it right now, or None.
        stopped: whether none of its services runs, and none is about to.
        complete: whether all of them run and are well.
    """
    if doing:
        return doing
    if record is None or record.state in {State.DEPLOYING, State.REMOVING}:
        return State.INTERRUPTED
    if record.state in {State.REMOVED, State.FAILED}:
        return record.state
    if stopped:
        return State.STOPPED
    if not complete:
        return State.DEGRADED
    return State.ROLLED_BACK if record.state is State.ROLLED_BACK else State.RUNNING


_STATE_OF_ACTION = {
    "deploy": State.DEPLOYING,
    "rollback": State.DEPLOYING,
    "cleanup": State.REMOVING,
}


@dataclass(frozen=True)
class Holder:
    """Who holds an environment's lock, or waits for it: one run of this suite.

    Attributes:
        owner: user@host.
        pid: process id on that host.
        since: when the run began, ISO 8601, UTC.
        action: what it does, e.g. ``deploy``.
        commit: what it deploys, or an empty string.
        committed: that commit's time in seconds since 1970, or 0; the larger one is the newer.
        job: URL of the CI job it is, or an empty string.
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
        """The name of this run, unlike that of any other: a Lease's ``holderIdentity``."""
        return self.job or f"{self.owner} (process {self.pid})"

    @property
    def doing(self) -> State:
        """The state of the environment while this run holds it."""
        return _STATE_OF_ACTION.get(self.action, State.CHANGING)

    def supersedes(self, other: Holder) -> bool:
        """Return True if this waiter's deploy is newer than `other`'s, and makes it pointless."""
        if self.commit == other.commit:
            return False
        if self.committed and other.committed and self.committed != other.committed:
            return self.committed > other.committed
        return self.since > other.since

    def __str__(self) -> str:
        who = ", ".join(filter(None, (self.owner, self.job)))
        what = f"{self.action} {self.commit}".strip()
        return f"{who} (pid {self.pid}, {what}) since {self.since[:19]} UTC"
