"""Plans of a stack: made and saved, applied, compared with AWS, and the last one of all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.adapters.files.private import write_private
from tasks.adapters.terraform import LockedError
from tasks.core.config_sources import nearest
from tasks.core.errors import InputError, RefusedError, SuiteError
from tasks.core.terraform_plan import PlanRecord, PlanSummary, read_record, refusal
from tasks.flows.infra.context import FOLDER, StackContext
from tasks.flows.infra.runs import carry_out, connect, outputs, planned, summary_of

_SOURCES = (".tf", ".tf.json", ".tfvars", ".tfvars.json")


def make_plan(site: StackContext, *, dry: bool = False) -> PlanSummary:
    """Make a plan and save it, unless there is nothing to do.

    Args:
        site: the stack.
        dry: do not save it, and leave the one alone that is saved.

    Raises:
        LockedError: somebody else is at work on the stack.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    if dry:
        return find_drift(site)
    _discard(site.plan)
    with _kept_on_success(site.plan):
        summary = planned(site, site.plan)
        if not summary.changes and not summary.outputs:
            _discard(site.plan)
            return summary
        record = _record(site, site.plan)
        write_private(site.record, json.dumps(record.as_dict(), indent=2).encode())
    return summary


def open_plan(site: StackContext) -> PlanSummary:
    """Return what the saved plan does, once it is certain that it may be applied here and now.

    Raises:
        InputError: there is no saved plan.
        RefusedError: it is another stack's, or out of date.
    """
    again = f"make a new one: {site.command('plan')}"
    if not (site.plan.exists() and site.record.exists()):
        raise InputError(
            f"there is no saved plan of stack {site.name}", hint=f"make one: {site.command('plan')}"
        )
    try:
        data = json.loads(site.record.read_text())
    except ValueError:
        data = None
    record = read_record(data)
    found = replace(_record(site, site.plan), commit=record.commit, created_at=record.created_at)
    reason = refusal(record, found, datetime.now(UTC))
    if reason:
        raise RefusedError(
            f"the saved plan of stack {site.name} is not applied: {reason}", hint=again
        )
    connect(site)
    return summary_of(site, site.plan)


def apply_plan(site: StackContext, summary: PlanSummary) -> None:
    """Apply the saved plan, and remove it: whatever came of it, it cannot be applied again.

    Raises:
        LockedError: somebody else is at work on the stack; the plan is kept.
        RefusedError: the state has changed since it was made.
        StoppedError: a signal came.
        SuiteError: Terraform failed half-way.
    """
    try:
        carry_out(site, site.plan, summary, f"apply {site.subject}")
    except LockedError:
        raise
    except SuiteError as error:
        _discard(site.plan)
        error.hint = error.hint or (
            f"what was done so far is in the state; mend the cause, then {site.command('plan')}"
        )
        raise
    _discard(site.plan)


def find_drift(site: StackContext) -> PlanSummary:
    """Return what has been changed outside of Terraform, and what else is not applied.

    Raises:
        LockedError: somebody else is at work on the stack.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    with _scratch(site, "drift") as plan:
        return planned(site, plan)


def show_diff(site: StackContext) -> str:
    """Return the saved plan as Terraform shows it, sensitive values masked."""
    return site.terraform.diff(site.plan)


def outputs_of(site: StackContext, name: str = "") -> dict[str, Any]:
    """Return the stack's outputs; a sensitive one's value is never shown.

    Args:
        site: the stack.
        name: an output that is asked for, or empty for all.

    Raises:
        InputError: nothing has been applied yet, or there is no such output.
    """
    connect(site)
    found = outputs(site)
    if not found:
        raise InputError(
            f"stack {site.name} has no outputs: nothing has been applied yet",
            hint=f"begin with {site.command('plan')}",
        )
    if name and name not in found:
        raise InputError(f"there is no output {name!r}", hint=nearest(name, found))
    return {
        name: "(sensitive)" if one["sensitive"] else one["value"] for name, one in found.items()
    }


# -- the end --------------------------------------------------------------------------------------


@contextlib.contextmanager
def destruction(site: StackContext) -> Iterator[PlanSummary]:
    """Make a plan to destroy everything; it is removed at the end of the block.

    Yields:
        What goes.

    Raises:
        RefusedError: the stack is protected.
        LockedError: somebody else is at work on the stack.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    refuse_protected(site, by_settings=site.protected)
    with _scratch(site, "destroy") as plan:
        summary = planned(site, plan, destroy=True)
        refuse_protected(site, by_variables=summary.protected)
        yield summary


def refuse_protected(
    site: StackContext, *, by_settings: bool = False, by_variables: bool = False
) -> None:
    """Refuse to destroy a protected stack.

    Raises:
        RefusedError: it is protected.
    """
    if by_settings or by_variables:
        where = "invoke.yaml" if by_settings else "its Terraform variables"
        raise RefusedError(
            f"stack {site.name} is protected by {where}: it is not destroyed",
            hint="what to do first stands in docs/aws.md, under 'The end of a stack'",
        )


def destroy(site: StackContext, summary: PlanSummary) -> None:
    """Carry out the plan of ``destruction``, inside its block.

    Raises:
        LockedError: somebody else is at work on the stack.
        StoppedError: a signal came.
        SuiteError: Terraform failed half-way.
    """
    carry_out(site, _scratch_path(site, "destroy"), summary, f"destroy {site.subject}")
    _discard(site.plan)


# -- what is saved ---------------------------------------------------------------------------------


def _record(site: StackContext, plan: Path) -> PlanRecord:
    """Return what a plan file is of, were it made now."""
    return PlanRecord(
        stack=site.name,
        account=site.account,
        region=site.region,
        state=f"{site.bucket.name}/{site.key}",
        commit=site.commit,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=_source(site),
        plan=hashlib.sha256(plan.read_bytes()).hexdigest(),
    )


def _source(site: StackContext) -> str:
    """Return a SHA-256 over everything that a plan is made from, except the state."""
    digest = hashlib.sha256()
    folder = site.root / FOLDER
    code = (path for path in folder.rglob("*") if path.name.endswith(_SOURCES) and path.is_file())
    ours = [path for path in sorted(code) if ".terraform" not in path.parts]
    for path in (*ours, *site.files):
        digest.update(f"{os.path.relpath(path, site.root)}\0".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _discard(plan: Path) -> None:
    """Remove a plan file and its record."""
    plan.unlink(missing_ok=True)
    plan.with_suffix(".json").unlink(missing_ok=True)


@contextlib.contextmanager
def _kept_on_success(plan: Path) -> Iterator[None]:
    """Make the folder of the plans, which git is told to ignore; a failure leaves no plan."""
    plan.parent.mkdir(mode=0o700, exist_ok=True)
    (plan.parent / ".gitignore").write_text("*\n")
    try:
        yield
    except BaseException:
        _discard(plan)
        raise


def _scratch_path(site: StackContext, purpose: str) -> Path:
    return site.plan.with_name(f"{site.name}.{purpose}.tfplan")


@contextlib.contextmanager
def _scratch(site: StackContext, purpose: str) -> Iterator[Path]:
    """Yield the place of a plan that nobody applies later."""
    plan = _scratch_path(site, purpose)
    with _kept_on_success(plan):
        yield plan
    _discard(plan)
