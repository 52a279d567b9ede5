"""The queues of an environment's messages: what waits, what has failed, and what becomes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from tasks.adapters.terminal.console import Console
from tasks.core.errors import SuiteError
from tasks.core.message_queue import FailedMessage, Queues, chosen, read_queues
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.core.plural import number_of
from tasks.core.spans import since
from tasks.flows.data import Place, ignore, run_image, run_program

TELL = ("mautic", "queue")
CONSOLE = ("mautic", "console", "--no-interaction")
COMMANDS = {"retry": "messenger:failed:retry", "remove": "messenger:failed:remove"}
"""What Mautic calls what is done with failed messages."""
QUEUE_COLUMNS = ("queue", "waiting", "taken", "oldest")
FAILED_COLUMNS = ("failed", "age", "message")

Verb = Literal["retry", "remove"]


@dataclass(frozen=True)
class QueuePlan:
    """What becomes of messages that have failed.

    Attributes:
        messages: which ones; the oldest first, as they failed.
    """

    names: Names
    verb: Verb
    messages: tuple[FailedMessage, ...]

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"{self.verb} failed messages of {self.names.branch} in {self.names.environment}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        return tuple(Step(self.verb, f"message {each.id}", each.title) for each in self.messages)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        steps = [asdict(step) for step in self.steps]
        return {"title": self.title, "branch": self.names.branch, "steps": steps}


def find_queues(place: Place) -> Queues:
    """Return what is in an environment's queues.

    Raises:
        SuiteError: the program that tells failed, or the image has none.
    """
    told = bytearray()
    run_image(place, TELL, told.extend)
    return read_queues(told.decode(errors="replace"))


def plan_queue(place: Place, found: Queues, verb: Verb, choice: str) -> QueuePlan:
    """Return what is done with failed messages.

    Args:
        place: the environment.
        found: what is in its queues.
        verb: what is done.
        choice: ids with commas between them, or ``all``.

    Raises:
        InputError: there is no such message.
    """
    ids = chosen(found, choice)
    messages = (message for message in reversed(found.failed) if message.id in ids)
    return QueuePlan(place.names, verb, tuple(messages))


def carry_out(place: Place, plan: QueuePlan, console: Console) -> Queues:
    """Retry or remove messages, by Mautic's own commands; return what is in the queues then.

    A message that fails again stays, with a new id. The commands end without an error whatever
    became of the messages, so these are counted.

    Raises:
        SuiteError: Mautic's command failed, or messages failed again.
    """
    if not plan.messages:
        return find_queues(place)
    before = find_queues(place).failed_count
    ids = [message.id for message in plan.messages]
    words = (*CONSOLE, COMMANDS[plan.verb], *ids, "--force")
    with console.work(f"{plan.verb} {number_of(len(ids), 'message')}") as activity:
        # Mautic's own lines are a description of each message and hints at its own commands.
        run_program(place, words, take=ignore, on_line=activity.detail, source=())
    after = find_queues(place)
    # Others may have failed meanwhile.
    left = min(len(ids), len(ids) - (before - after.failed_count))
    if left > 0:
        last = after.failed[0].title if after.failed else "their error is not told"
        what = "failed again" if plan.verb == "retry" else "are still there"
        raise SuiteError(
            f"{left} of {number_of(len(ids), 'message')} {what}; the last: {last}",
            hint="inv queue shows each with its error",
        )
    return after


def queue_rows(found: Queues, now: datetime) -> list[tuple[str, ...]]:
    """Return the queues as rows of ``QUEUE_COLUMNS``."""
    rows: list[tuple[str, ...]] = []
    for name, counts in found.queues.items():
        if counts:
            age = since(counts.since.isoformat() if counts.since else "", now)
            rows.append((name, str(counts.waiting), str(counts.taken), age))
        else:
            rows.append((name, "elsewhere", "-", "-"))
    return rows


def failed_rows(messages: Sequence[FailedMessage], now: datetime) -> list[tuple[str, ...]]:
    """Return failed messages as rows of ``FAILED_COLUMNS``."""
    return [
        (each.id, since(each.since.isoformat() if each.since else "", now), each.title)
        for each in messages
    ]
