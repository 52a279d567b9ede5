"""The infrastructure in AWS: one stack, made, looked after and taken down by Terraform."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from tasks.app.task import check_format, task
from tasks.core.errors import DriftedError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tasks.app.session import Session
    from tasks.core.terraform_plan import PlanSummary, ResourceChange

_STACK = "name of a stack in invoke.yaml (default: the only one)"


@task(help={"stack": _STACK})
def bootstrap(
    session: Session, stack: str = "", dry_run: bool = False, format: str = "text"
) -> None:
    """Make the S3 bucket of a stack's Terraform state, or give it what it lacks."""
    from tasks.app import infra
    from tasks.flows.infra.state import plan_bootstrap, run_bootstrap

    as_json = check_format(format)
    context = infra.stack_context(session, stack)
    plan = plan_bootstrap(context.bucket)
    if dry_run or session.dry:
        session.console.plan(plan, as_json=as_json)
        return
    run_bootstrap(plan, context.bucket, session.console)
    if as_json:
        session.console.json(plan.as_dict())
    else:
        session.console.say(
            f"bucket {context.bucket.name} is as it should be; next: {context.command('plan')}"
        )


@task(help={"stack": _STACK, "diff": "show every attribute, as Terraform does"})
def plan(session: Session, stack: str = "", diff: bool = False, format: str = "text") -> None:
    """Plan the changes of a stack, save the plan, and show what it does."""
    from tasks.app import infra
    from tasks.flows.infra.plans import make_plan, show_diff

    as_json = check_format(format)
    context = infra.stack_context(session, stack)
    summary = make_plan(context, dry=session.dry)
    if as_json:
        session.console.json(summary.as_dict())
    else:
        _show(session, summary)
    if not summary.changes and not summary.outputs:
        session.console.say("there is nothing to apply")
        return
    if session.dry:
        session.console.say("the plan was not saved")
        return
    if diff:
        session.console.data(show_diff(context))
    agree = " --replace-stateful" if summary.losses else ""
    session.console.say(f"saved; next, within 24 hours: {context.command('apply')}{agree}")


@task(
    help={
        "stack": _STACK,
        "replace_stateful": "agree to lose what the plan says is lost",
    }
)
def apply(
    session: Session,
    stack: str = "",
    replace_stateful: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Apply the plan that was saved for a stack, and only that."""
    from tasks.app import infra
    from tasks.flows.infra.plans import apply_plan, open_plan

    as_json = check_format(format)
    context = infra.stack_context(session, stack)
    summary = open_plan(context)
    if dry_run or session.dry:
        session.console.plan(summary, as_json=as_json)
        return
    if summary.losses and not replace_stateful:
        _show(session, summary)
        session.confirm(
            context.name,
            "What is lost cannot be brought back.",
            refusal=f"the plan of stack {context.name} loses {_lost(summary.losses)}",
            hint=f"if that is meant: {context.command('apply')} --replace-stateful",
        )
    apply_plan(context, summary)
    if as_json:
        session.console.json(summary.as_dict())
    else:
        session.console.say(f"done; what it made: {context.command('output')}")


@task(help={"stack": _STACK, "name": "print only this output's value"})
def output(session: Session, stack: str = "", name: str = "", format: str = "text") -> None:
    """Show the outputs of a stack."""
    from tasks.app import infra
    from tasks.flows.infra.plans import outputs_of

    as_json = check_format(format)
    found = outputs_of(infra.stack_context(session, stack), name)
    if as_json:
        session.console.json(found[name] if name else found)
    elif name:
        session.console.data(_text(found[name]))
    else:
        rows = [(one, _text(value)) for one, value in sorted(found.items())]
        session.console.table(("output", "value"), rows)


@task(help={"stack": _STACK})
def drift(session: Session, stack: str = "", format: str = "text") -> None:
    """Say what was changed in AWS outside of Terraform; exit code 7 if anything was."""
    from tasks.app import infra
    from tasks.flows.infra.plans import find_drift

    as_json = check_format(format)
    context = infra.stack_context(session, stack)
    summary = find_drift(context)
    columns, rows = ("what", "address", "attributes"), summary.drift_rows
    if as_json:
        session.console.json([dict(zip(columns, row, strict=True)) for row in rows])
    elif rows:
        session.console.table(columns, rows)
    pending = len(summary.changes) - len(summary.drift)
    if pending:
        session.console.say(f"besides, {pending} changes of the configuration are not applied yet")
    if summary.drift:
        raise DriftedError(
            f"{context.subject} has drifted; to put it right: {context.command('plan')}"
        )
    session.console.say(f"{context.subject} is as Terraform left it")


@task(help={"stack": _STACK, "name": "the stack's name once more, instead of typing it"})
def destroy(
    session: Session, stack: str = "", name: str = "", dry_run: bool = False, format: str = "text"
) -> None:
    """Destroy everything that a stack is made of."""
    from tasks.app import infra
    from tasks.flows.infra.plans import destroy as run_destroy
    from tasks.flows.infra.plans import destroy_plan

    as_json = check_format(format)
    context = infra.stack_context(session, stack)
    if name not in {"", context.name}:
        raise InputError(f"--name {name!r} is not the stack's name, {context.name}")
    with destroy_plan(context) as summary:
        if dry_run or session.dry:
            session.console.plan(summary, as_json=as_json)
            return
        if not summary.changes:
            session.console.say(f"{context.subject}: nothing to destroy")
            return
        _show(session, summary)
        if not name:
            session.confirm(
                context.name,
                "None of this can be brought back.",
                refusal=f"stack {context.name} is destroyed only by its name",
                hint=f"if that is meant: {context.command('destroy')} --name {context.name}",
            )
        run_destroy(context, summary)
    if as_json:
        session.console.json(summary.as_dict())
    session.console.say(
        f"{context.subject} is gone; its states stay in bucket {context.bucket.name}, "
        "versions and all"
    )


@task(help={"stack": _STACK, "id": "the lock's id; without it, who holds the lock is shown"})
def unlock(
    session: Session, stack: str = "", id: str = "", dry_run: bool = False, format: str = "text"
) -> None:
    """Remove the lock that a killed run has left on a stack's state."""
    from tasks.app import infra
    from tasks.flows.infra.state import plan_unlock, run_unlock

    as_json = check_format(format)
    context = infra.stack_context(session, stack)
    plan = plan_unlock(context, id)
    if plan is None:
        session.console.say(f"{context.subject} is not locked")
    elif dry_run or session.dry:
        session.console.plan(plan, as_json=as_json)
    else:
        run_unlock(plan, context)
        session.console.say(f"next: {context.command('plan')}")


def _show(session: Session, summary: PlanSummary) -> None:
    """Print a plan's summary; losses come last and, on a terminal, in red."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line, alarming in summary.lines():
        session.console.data(line, colour="31;1" if alarming and colour else "")


def _lost(changes: Iterable[ResourceChange]) -> str:
    return ", ".join(f"{change.loses} ({change.address})" for change in changes)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
