"""Runs Terraform on a stack: shows its progress, masks secrets, and ends in order on a signal."""

from __future__ import annotations

import contextlib
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks.adapters.terminal.console import Activity
from tasks.core.errors import AwsError, RefusedError, SuiteError
from tasks.core.terraform_plan import PlanSummary, secrets_in, summarise
from tasks.flows.infra.context import StackContext

_DONE = re.compile(r"^\S.*: (?:Creation|Modifications|Destruction) complete")
_RESULT = re.compile(r"^(?:Apply|Destroy) complete! Resources: (.*)\.$")
_ALARM = re.compile(r"^(?:Error|Warning): ")


class StoppedError(SuiteError):
    """A signal has ended Terraform.

    Attributes:
        exit_code: 128 plus the signal's number, as in a shell.
    """

    def __init__(self, message: str, signum: int, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signum


def initialise(context: StackContext, *, rescue: bool = False) -> None:
    """Initialise Terraform: download its provider and connect to the stack's state.

    Args:
        context: the stack.
        rescue: allow this although an earlier run's state has not been stored yet.

    Raises:
        RefusedError: the state of an earlier run was never stored.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    if context.terraform.leftover.exists() and not rescue:
        raise RefusedError(
            f"stack {context.name}: the state of an earlier run was never stored",
            hint=context.terraform.rescue,
        )
    backend = {"bucket": context.bucket.name, "key": context.key, "region": context.region}
    with (
        _stoppable(context),
        context.console.work(f"terraform init for {context.subject}") as activity,
    ):
        context.terraform.tell = activity.say
        context.terraform.init(backend, activity.line)


def plan_into(context: StackContext, out: Path, *, destroy: bool = False) -> PlanSummary:
    """Make a plan, save it in a file, and return its summary."""
    initialise(context)
    values = {"stack": context.name, "region": context.region}
    title = f"plan {'the destruction of ' if destroy else ''}{context.subject}"
    with _stoppable(context), context.console.work(title) as activity:
        context.terraform.tell = activity.say
        # Terraform shows what a sensitive value was copied to in clear when that is destroyed.
        mask(context, context.terraform.state())
        context.terraform.plan(
            out, context.files, values, destroy=destroy, on_line=_progress(activity, 0)
        )
        summary = summary_of(context, out)
        activity.outcome = summary.headline
    return summary


def summary_of(context: StackContext, plan: Path) -> PlanSummary:
    """Return the summary of a plan file."""
    with _stoppable(context):
        document = context.terraform.show(plan)
    mask(context, document)
    return summarise(document, context.subject)


def mask(context: StackContext, document: dict[str, Any]) -> None:
    """Mask every sensitive value from now on."""
    for secret in secrets_in(document):
        context.console.redactor.add(secret)


def outputs(context: StackContext) -> dict[str, Any]:
    """Return the stack's outputs from Terraform."""
    with _stoppable(context):
        found = context.terraform.outputs()
    mask(context, found)
    return found


def carry_out(context: StackContext, plan: Path, summary: PlanSummary, title: str) -> None:
    """Apply a plan in a file.

    Raises:
        LockedError: another run holds the state's lock.
        RefusedError: the state has changed since it was made.
        StoppedError: a signal came.
        SuiteError: Terraform failed half-way.
    """
    steps = len(summary.changes) + summary.counts["replace"]
    with _stoppable(context, changing=True), context.console.work(title) as activity:
        context.terraform.tell = activity.say
        context.terraform.apply(plan, _progress(activity, steps))


def _progress(activity: Activity, steps: int) -> Callable[[str], None]:
    """Return a function that shows Terraform's lines, and counts the finished steps."""
    done = 0
    # Without a terminal all that Terraform says stays to be read.
    tell = activity.line if activity.panel else activity.say

    def take(line: str) -> None:
        nonlocal done
        if _DONE.match(line):
            done += 1
            if activity.panel:
                activity.panel([f"{done} of {steps} done"])
        if result := _RESULT.match(line):
            activity.outcome = result[1]
        elif _DONE.match(line) or _ALARM.match(line):
            activity.say(line)
        else:
            tell(line)

    return take


@contextlib.contextmanager
def _stoppable(context: StackContext, *, changing: bool = False) -> Iterator[None]:
    """After a signal has ended Terraform, raise an error with the state and the next step."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        signum = getattr(interrupt, "signum", signal.SIGINT)
        if context.terraform.leftover.exists():
            raise StoppedError("stopped", signum, hint=context.terraform.rescue) from interrupt
        try:
            lock = context.bucket.lock(context.key)
        except AwsError as error:
            raise StoppedError(
                f"stopped; whether the state is still locked cannot be seen: {error}",
                signum,
                hint=f"see for yourself: {context.command('unlock')}",
            ) from interrupt
        if lock:
            raise StoppedError(
                f"stopped at once: the state of stack {context.name} is still locked ({lock})",
                signum,
                hint=f"{context.command('unlock')} --id {lock.id}, then {context.command('plan')}",
            ) from interrupt
        how = "stopped: what was done so far is in the state" if changing else "stopped"
        raise StoppedError(
            f"{how}, and nothing is locked", signum, hint=f"go on with {context.command('plan')}"
        ) from interrupt
