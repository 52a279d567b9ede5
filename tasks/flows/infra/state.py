"""The state of a stack: creates and configures its bucket, and removes its lock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.adapters.aws.state_bucket import BucketProperty, StateBucket
from tasks.adapters.terminal.console import Console
from tasks.core.errors import InputError, SuiteError
from tasks.core.plan import Step
from tasks.flows.infra.context import StackContext
from tasks.flows.infra.runs import initialise


@dataclass(frozen=True)
class BootstrapPlan:
    """The plan to create or configure the bucket of a state.

    Attributes:
        create: whether it has to be created.
        missing: the properties it lacks.
    """

    bucket: str
    create: bool
    missing: tuple[BucketProperty, ...]

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"bucket {self.bucket} for Terraform's states"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per property."""
        made = (Step("create", f"bucket {self.bucket}", "it is not there"),) if self.create else ()
        return (*made, *(Step("set", aspect.name, aspect.reason) for aspect in self.missing))

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        missing = [aspect.name for aspect in self.missing]
        return {"bucket": self.bucket, "create": self.create, "set": missing}


def plan_bootstrap(bucket: StateBucket) -> BootstrapPlan:
    """Return the plan to create or configure the bucket.

    Raises:
        InputError: the bucket belongs to another account, or is in another region.
        AwsError: S3 refused, or could not be reached.
    """
    if not bucket.exists():
        return BootstrapPlan(bucket.name, True, bucket.aspects)
    missing = tuple(aspect for aspect in bucket.aspects if not aspect.holds())
    return BootstrapPlan(bucket.name, False, missing)


def run_bootstrap(plan: BootstrapPlan, bucket: StateBucket, console: Console) -> None:
    """Create the bucket, or set its missing properties.

    Raises:
        SuiteError: a property is still missing afterwards.
        AwsError: S3 refused, or could not be reached.
    """
    if not plan.steps:
        return
    with console.work(plan.title) as activity:
        if plan.create:
            bucket.create()
            activity.say(f"made bucket {plan.bucket}")
        for aspect in plan.missing:
            aspect.put()
            activity.say(f"set {aspect.name}")
        left = [step.subject for step in plan_bootstrap(bucket).steps]
    if left:
        raise SuiteError(f"the bucket {plan.bucket} still lacks: {', '.join(left)}")


# -- the lock --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnlockPlan:
    """The plan to remove a lock.

    Attributes:
        subject: its stack, as in messages.
        held: who holds it.
    """

    subject: str
    lock_id: str
    held: str

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"unlock {self.subject}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step."""
        return (Step("remove", f"lock {self.lock_id}", self.held),)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"lock": self.lock_id, "held": self.held}


def plan_unlock(context: StackContext, lock_id: str) -> UnlockPlan | None:
    """Return the plan to remove a state's lock, or None if there is no lock.

    Raises:
        InputError: the id is missing, or another lock's.
        AwsError: S3 refused, or could not be reached.
    """
    lock = context.bucket.lock(context.key)
    if lock is None:
        return None
    if lock.id != lock_id:
        given = f"is not locked by {lock_id}" if lock_id else "is locked"
        raise InputError(
            f"the state of stack {context.name} {given}: {lock}",
            hint="once you are sure that this run is gone: "
            f"{context.command('unlock')} --id {lock.id}",
        )
    return UnlockPlan(context.subject, lock.id, str(lock))


def run_unlock(plan: UnlockPlan, context: StackContext) -> None:
    """Remove a lock.

    Raises:
        SuiteError: Terraform failed.
    """
    initialise(context, rescue=True)
    with context.console.work(plan.title):
        context.terraform.unlock(plan.lock_id)
