"""What waits in an environment's queues of messages, and which of those that failed are meant."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from tasks.core.errors import InputError, UnreadableError

ALL = "all"
"""Stands for every message that has failed."""


class QueueCounts(BaseModel):
    """One queue in the database.

    Attributes:
        waiting: messages that no worker has begun.
        taken: those that a worker is at, or has lost.
        since: when the oldest of all came; None if there is none.
    """

    waiting: int
    taken: int
    since: AwareDatetime | None = None


class FailedMessage(BaseModel):
    """A message that was given up.

    Attributes:
        id: what Mautic calls it.
        name: its class; empty if it cannot be read.
        since: when it was given up.
        error: what the last try ended with; empty if nothing tells.
    """

    id: str
    name: str = Field(alias="class")
    since: AwareDatetime | None
    error: str

    @property
    def title(self) -> str:
        """Its class without the namespace, and the error in one line."""
        name = self.name.rpartition("\\")[2] or "unreadable"
        return f"{name}: {' '.join(self.error.split()) or 'nothing tells why'}"


class Queues(BaseModel):
    """All queues: by name, None for one that is not in the database, and what has failed."""

    queues: dict[str, QueueCounts | None]
    failed: tuple[FailedMessage, ...]

    @property
    def failed_count(self) -> int:
        """How many messages have failed, also those that are not listed."""
        counts = self.queues.get("failed")
        return counts.waiting + counts.taken if counts else 0


def read_queues(text: str) -> Queues:
    """Return what docker/mautic/php/queue.php tells.

    Raises:
        UnreadableError: it is not what that program writes: an image that a branch has built.
    """
    try:
        return Queues.model_validate_json(text)
    except ValidationError as error:
        raise UnreadableError("what the image tells of its queues cannot be read") from error


def chosen(found: Queues, choice: str) -> list[str]:
    """Return the ids of the failed messages that are meant.

    Args:
        found: what there is.
        choice: ids with commas between them, or ``all``.

    Raises:
        InputError: there is no such message.
    """
    known = [message.id for message in found.failed]
    if choice == ALL:
        return known
    wanted = list(dict.fromkeys(each for each in choice.split(",") if each))
    missing = [each for each in wanted if each not in known]
    if missing or not wanted:
        which = ", ".join(missing) or f"{choice!r}"
        raise InputError(f"no message {which} has failed", hint="inv queue lists those that have")
    return wanted
