"""Plans of a stack: makes, saves and applies them, finds drift, destroys the stack."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.adapters.files.digest import digest_of
from tasks.adapters.files.private import write_private
from tasks.adapters.terraform import LockedError
from tasks.core.config_sources import nearest
from tasks.core.errors import InputError, RefusedError, SuiteError
from tasks.core.terraform_plan import PlanRecord, PlanSummary, read_record, refusal
from tasks.flows.infra.context import FOLDER, StackContext
from tasks.flows.infra.runs import carry_out, initialise, outputs, plan_into, summary_of

_SOURCES = (".tf", ".tf.json", ".tfvars", ".tfvars.json")


def make_plan(context: StackContext, *, dry: bool = False) -> PlanSummary:
    """Make a plan and save it, unless there is nothing to do.

    Args:
        context: the stack.
        dry: do not save it, and keep a saved one.

    Raises:
        LockedError: another run holds the state's lock.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    if dry:
        return find_drift(context)
    _discard(context.plan)
    with _kept_on_success(context.plan):
        summary = plan_into(context, context.plan)
        if not summary.changes and not summary.outputs:
            _discard(context.plan)
            return summary
        record = _record(context, context.plan)
        write_private(context.record, json.dumps(record.as_dict(), indent=2).encode())
    return summary


def open_plan(context: StackContext) -> PlanSummary:
    """Return the saved plan's summary, after checking that it may be applied now.

    Raises:
        InputError: there is no saved plan.
        RefusedError: it is another stack's, or out of date.
    """
    again = f"make a new one: {context.command('plan')}"
    if not (context.plan.exists() and context.record.exists()):
        raise InputError(
            f"there is no saved plan of stack {context.name}",
            hint=f"make one: {context.command('plan')}",
        )
    try:
        data = json.loads(context.record.read_text())
    except ValueError:
        data = None
    record = read_record(data)
    found = replace(
        _record(context, context.plan), commit=record.commit, created_at=record.created_at
    )
    reason = refusal(record, found, datetime.now(UTC))
    if reason:
        raise RefusedError(
            f"the saved plan of stack {context.name} is not applied: {reason}", hint=again
        )
    initialise(context)
    return summary_of(context, context.plan)


def apply_plan(context: StackContext, summary: PlanSummary) -> None:
    """Apply the saved plan, and delete it: even after a failure it cannot be applied again.

    Raises:
        LockedError: another run holds the state's lock; the plan is kept.
        RefusedError: the state has changed since it was made.
        StoppedError: a signal came.
        SuiteError: Terraform failed half-way.
    """
    try:
        carry_out(context, context.plan, summary, f"apply {context.subject}")
    except LockedError:
        raise
    except SuiteError as error:
        _discard(context.plan)
        error.hint = error.hint or (
            f"what was done so far is in the state; mend the cause, then {context.command('plan')}"
        )
        raise
    _discard(context.plan)


def find_drift(context: StackContext) -> PlanSummary:
    """Return the drift of a stack, and changes of its configuration that are not applied.

    Raises:
        LockedError: another run holds the state's lock.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    with _scratch(context, "drift") as plan:
        return plan_into(context, plan)


def show_diff(context: StackContext) -> str:
    """Return the saved plan as Terraform shows it, sensitive values masked."""
    return context.terraform.diff(context.plan)


def outputs_of(context: StackContext, name: str = "") -> dict[str, Any]:
    """Return the stack's outputs; values of sensitive ones are left out.

    Args:
        context: the stack.
        name: an output that must exist, or empty.

    Raises:
        InputError: nothing has been applied yet, or there is no such output.
    """
    initialise(context)
    found = outputs(context)
    if not found:
        raise InputError(
            f"stack {context.name} has no outputs: nothing has been applied yet",
            hint=f"begin with {context.command('plan')}",
        )
    if name and name not in found:
        raise InputError(f"there is no output {name!r}", hint=nearest(name, found))
    return {
        name: "(sensitive)" if one["sensitive"] else one["value"] for name, one in found.items()
    }


# -- destroying -----------------------------------------------------------------------------------


@contextlib.contextmanager
def destroy_plan(context: StackContext) -> Iterator[PlanSummary]:
    """Make a plan to destroy everything; it is deleted at the end of the block.

    Yields:
        The plan's summary.

    Raises:
        RefusedError: the stack is protected.
        LockedError: another run holds the state's lock.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    refuse_protected(context, by_settings=context.protected)
    with _scratch(context, "destroy") as plan:
        summary = plan_into(context, plan, destroy=True)
        refuse_protected(context, by_variables=summary.protected)
        yield summary


def refuse_protected(
    context: StackContext, *, by_settings: bool = False, by_variables: bool = False
) -> None:
    """Refuse to destroy a protected stack.

    Raises:
        RefusedError: it is protected.
    """
    if by_settings or by_variables:
        where = "invoke.yaml" if by_settings else "its Terraform variables"
        raise RefusedError(
            f"stack {context.name} is protected by {where}: it is not destroyed",
            hint="what to do first stands in docs/aws.md, under 'The end of a stack'",
        )


def destroy(context: StackContext, summary: PlanSummary) -> None:
    """Carry out the plan of ``destroy_plan``, inside its block.

    Raises:
        LockedError: another run holds the state's lock.
        StoppedError: a signal came.
        SuiteError: Terraform failed half-way.
    """
    carry_out(context, _scratch_path(context, "destroy"), summary, f"destroy {context.subject}")
    _discard(context.plan)


# -- saved plans -----------------------------------------------------------------------------------


def _record(context: StackContext, plan: Path) -> PlanRecord:
    """Return the record of a plan file, as if it were made now."""
    return PlanRecord(
        stack=context.name,
        account=context.account,
        region=context.region,
        state=f"{context.bucket.name}/{context.key}",
        commit=context.commit,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=_source(context),
        plan=hashlib.sha256(plan.read_bytes()).hexdigest(),
    )


def _source(context: StackContext) -> str:
    """Return a SHA-256 over everything that a plan is made from, except the state."""
    folder = context.root / FOLDER
    code = (path for path in folder.rglob("*") if path.name.endswith(_SOURCES) and path.is_file())
    ours = [path for path in sorted(code) if ".terraform" not in path.parts]
    return digest_of((*ours, *context.files), context.root)


def _discard(plan: Path) -> None:
    """Remove a plan file and its record."""
    plan.unlink(missing_ok=True)
    plan.with_suffix(".json").unlink(missing_ok=True)


@contextlib.contextmanager
def _kept_on_success(plan: Path) -> Iterator[None]:
    """Create the folder of plans, which git ignores; delete the plan after a failure."""
    plan.parent.mkdir(mode=0o700, exist_ok=True)
    (plan.parent / ".gitignore").write_text("*\n")
    try:
        yield
    except BaseException:
        _discard(plan)
        raise


def _scratch_path(context: StackContext, purpose: str) -> Path:
    return context.plan.with_name(f"{context.name}.{purpose}.tfplan")


@contextlib.contextmanager
def _scratch(context: StackContext, purpose: str) -> Iterator[Path]:
    """Yield the path of a temporary plan."""
    plan = _scratch_path(context, purpose)
    with _kept_on_success(plan):
        yield plan
    _discard(plan)
