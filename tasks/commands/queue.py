"""inv queue: messages that wait, and those that have failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.app.session import Session


@task(
    help={
        "retry": "try failed messages again, here and now: their numbers with commas, or all",
        "remove": "remove failed messages for good: their numbers with commas, or all",
    }
)
def queue(
    session: Session,
    env: str = "",
    branch: str | None = None,
    retry: str = "",
    remove: str = "",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Show the queues of a branch's environment and what has failed in them; retry or remove it."""
    from tasks.app import data
    from tasks.flows import message_queue
    from tasks.flows.views import now

    as_json = check_format(format)
    if retry and remove:
        raise InputError("--retry and --remove are opposites: give one of them")
    dry = dry_run or session.dry
    place = data.find_place(session, env, branch, dry=dry)
    found = message_queue.find_queues(place)
    if retry or remove:
        verb: message_queue.Verb = "retry" if retry else "remove"
        plan = message_queue.plan_queue(place, found, verb, retry or remove)
        if dry:
            session.console.plan(plan, as_json=as_json)
            return
        found = message_queue.carry_out(place, plan, session.console)
    if as_json:
        session.console.json(found.model_dump(mode="json"))
        return
    session.console.table(message_queue.QUEUE_COLUMNS, message_queue.queue_rows(found, now()))
    if found.failed:
        rows = message_queue.failed_rows(found.failed, now())
        session.console.table(message_queue.FAILED_COLUMNS, rows)
        if more := found.failed_count - len(rows):
            session.console.say(f"and {more} older ones")
