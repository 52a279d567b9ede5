"""inv sleep, inv wake, inv pin: environments that cost nothing while nobody needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.app.task import check_format, task
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.app.session import Session


@task()
def sleep(
    session: Session,
    env: str = "",
    branch: str | None = None,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Stop what runs of a branch's environment, and keep its data: workers, web, database."""
    from tasks.app import sleep as app

    as_json = check_format(format)
    found = app.find_to_sleep(session, env, branch)
    if dry_run or session.dry:
        session.console.plan(found.plan_sleep(), as_json=as_json)
        return
    changed = found.sleep()
    if changed:
        command = f"inv wake {found.place.names.options}"
        session.console.success(f"{found.place.title} is asleep; {command}, or any use, wakes it")
    else:
        asleep = found.rest().asleep
        session.console.say(f"{found.place.title}: nothing to do, it is {asleep or 'stopped'}")
    if as_json:
        session.console.json(found.outcome(changed=changed))


@task()
def wake(
    session: Session,
    env: str = "",
    branch: str | None = None,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Start a branch's environment that sleeps, wait for its first page, and print its URL."""
    from tasks.app import sleep as app

    as_json = check_format(format)
    found = app.find(session, env, branch)
    if dry_run or session.dry:
        session.console.plan(found.plan_wake(), as_json=as_json)
        return
    changed = found.wake()
    if not changed:
        title, options = found.place.title, found.place.names.options
        if down := ", ".join(f"{part.service} is {part.told}" for part in found.down()):
            session.console.warn(f"{title} is not asleep, but {down}: inv status {options}")
        else:
            session.console.say(f"{title} is awake already")
    if as_json:
        session.console.json(found.outcome(changed=changed))
    else:
        session.console.data(found.place.names.url)


@task(
    help={
        "until": "last day of the pin, UTC: 2026-12-31 (default: no end)",
        "for": "how long the pin lasts: 12h, 14d, 2w",
        "off": "end the pin",
    }
)
def pin(
    session: Session,
    env: str = "",
    branch: str | None = None,
    until: str = "",
    for_: str = "",
    off: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Keep a branch's environment: while it is pinned it never sleeps, and never expires."""
    from tasks.app import sleep as app

    as_json = check_format(format)
    if off and (until or for_):
        raise InputError("give --off alone")
    found = app.find(session, env, branch)
    value = None if off else found.new_pin(until, for_)
    if dry_run or session.dry:
        session.console.plan(found.plan_pin(value), as_json=as_json)
        return
    before = found.pin(value)
    ended = f"pinned no more (it was {before})" if before else "not pinned"
    session.console.success(f"{found.place.title} is {value or ended}")
    if value and found.rest().asleep:
        session.console.say(f"it is asleep; to wake it: inv wake {found.place.names.options}")
    if as_json:
        session.console.json(found.outcome(changed=bool(value or before)))
