"""The infrastructure of a stack: its state's bucket, plans, applies, drift, end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.adapters.console import Activity, Console
from tasks.adapters.statebucket import Aspect, StateBucket
from tasks.adapters.terraform import LockedError, Terraform
from tasks.core.errors import AwsError, InputError, RefusedError, SuiteError
from tasks.core.plan import Step
from tasks.core.tfplan import PlanRecord, Summary, read_record, refusal, secrets_in, summarise

FOLDER = "terraform"
"""The configuration, in the checkout."""

PLANS = ".terraform-plans"
"""Where saved plans lie, in the checkout: they hold secrets, and nobody but their owner reads
them."""

_SOURCES = (".tf", ".tf.json", ".tfvars", ".tfvars.json")
_DONE = re.compile(r"^\S.*: (?:Creation|Modifications|Destruction) complete")
_RESULT = re.compile(r"^(?:Apply|Destroy) complete! Resources: (.*)\.$")
_ALARM = re.compile(r"^(?:Error|Warning): ")


class StoppedError(SuiteError):
    """Terraform was told to end by a signal, and has ended.

    Attributes:
        exit_code: 128 and the signal's number, as a shell has it.
    """

    def __init__(self, message: str, signum: int, *, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = 128 + signum


@dataclass(frozen=True)
class Site:
    """One stack, and what works on it.

    Attributes:
        name: the stack's name.
        project: first part of every name.
        account: the AWS account's number.
        region: the AWS region.
        files: Terraform variables files, the later ones win.
        protected: whether invoke.yaml protects the stack.
        root: the checkout.
        commit: the commit that is checked out.
        terraform: Terraform, on this stack.
        bucket: the bucket of its state.
        console: where everything is said.
    """

    name: str
    project: str
    account: str
    region: str
    files: tuple[Path, ...]
    protected: bool
    root: Path
    commit: str
    terraform: Terraform
    bucket: StateBucket
    console: Console

    @property
    def subject(self) -> str:
        """What is shown of it."""
        return f"stack {self.name} (account {self.account}, {self.region})"

    @property
    def key(self) -> str:
        """Key of its state in the bucket."""
        return f"{self.name}/terraform.tfstate"

    @property
    def plan(self) -> Path:
        """The saved plan."""
        return self.root / PLANS / f"{self.name}.tfplan"

    @property
    def record(self) -> Path:
        """What the saved plan is of."""
        return self.plan.with_suffix(".json")

    def command(self, task: str) -> str:
        """Return the command line of another task on this stack."""
        return f"inv infra.{task} --stack {self.name}"


def only_stack(stacks: Collection[str]) -> str:
    """Return the name of the only stack there is.

    Raises:
        InputError: there is none, or more than one.
    """
    if not stacks:
        raise InputError(
            "there is no stack in invoke.yaml", hint="describe one under `stacks`: docs/aws.md"
        )
    if len(stacks) > 1:
        raise InputError("which stack?", hint=f"--stack {' or --stack '.join(stacks)}")
    return next(iter(stacks))


def variables_files(root: Path, stack: str, names: Iterable[str]) -> tuple[Path, ...]:
    """Return the paths of a stack's variables files.

    Raises:
        InputError: one of them is not there.
    """
    files = tuple(root / name for name in names)
    for path in files:
        if not path.is_file():
            raise InputError(
                f"the variables file of stack {stack} is not there: {path}",
                hint=f"correct stacks.{stack}.variables",
            )
    return files


def bucket_name(project: str, account: str, region: str) -> str:
    """Return the name of the states' bucket where the settings name none.

    All stacks of an account and region share it. At most 63 characters (S3's limit): 20 of the
    project's, 12 of the account's, 14 of the longest region's.
    """
    return f"{project}-terraform-{account}-{region}"


# -- the state's bucket ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Bootstrap:
    """What the bucket of a state lacks.

    Attributes:
        bucket: the bucket's name.
        create: whether it has to be made.
        missing: the properties it lacks.
    """

    bucket: str
    create: bool
    missing: tuple[Aspect, ...]

    @property
    def title(self) -> str:
        """What the plan is about."""
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


def plan_bootstrap(bucket: StateBucket) -> Bootstrap:
    """Return what the bucket lacks.

    Raises:
        InputError: the name is somebody else's, or the bucket is in another region.
        AwsError: S3 refused, or could not be reached.
    """
    if not bucket.exists():
        return Bootstrap(bucket.name, True, bucket.aspects)
    missing = tuple(aspect for aspect in bucket.aspects if not aspect.holds())
    return Bootstrap(bucket.name, False, missing)


def run_bootstrap(plan: Bootstrap, bucket: StateBucket, console: Console) -> None:
    """Make the bucket, or give it what it lacks.

    Raises:
        SuiteError: it lacks something all the same.
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


# -- plans ----------------------------------------------------------------------------------------


def make_plan(site: Site, *, dry: bool = False) -> Summary:
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
        summary = _planned(site, site.plan)
        if not summary.changes and not summary.outputs:
            _discard(site.plan)
            return summary
        record = _record(site, site.plan)
        _write_private(site.record, json.dumps(record.as_dict(), indent=2))
    return summary


def open_plan(site: Site) -> Summary:
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
    _init(site)
    return _summary(site, site.plan)


def apply_plan(site: Site, summary: Summary) -> None:
    """Apply the saved plan, and remove it: whatever came of it, it cannot be applied again.

    Raises:
        LockedError: somebody else is at work on the stack; the plan is kept.
        RefusedError: the state has changed since it was made.
        StoppedError: a signal came.
        SuiteError: Terraform failed half-way.
    """
    try:
        _apply(site, site.plan, summary, f"apply {site.subject}")
    except LockedError:
        raise
    except SuiteError as error:
        _discard(site.plan)
        error.hint = error.hint or (
            f"what was done so far is in the state; mend the cause, then {site.command('plan')}"
        )
        raise
    _discard(site.plan)


def find_drift(site: Site) -> Summary:
    """Return what has been changed outside of Terraform, and what else is not applied.

    Raises:
        LockedError: somebody else is at work on the stack.
        StoppedError: a signal came.
        SuiteError: Terraform failed.
    """
    with _scratch(site, "drift") as plan:
        return _planned(site, plan)


def show_diff(site: Site) -> str:
    """Return the saved plan as Terraform shows it, sensitive values masked."""
    return site.terraform.diff(site.plan)


def outputs_of(site: Site) -> dict[str, Any]:
    """Return the stack's outputs; a sensitive one's value is never shown.

    Raises:
        InputError: nothing has been applied yet.
    """
    _init(site)
    found = site.terraform.outputs()
    _mask(site, found)
    if not found:
        raise InputError(
            f"stack {site.name} has no outputs: nothing has been applied yet",
            hint=f"begin with {site.command('plan')}",
        )
    return {
        name: "(sensitive)" if one["sensitive"] else one["value"] for name, one in found.items()
    }


# -- the end --------------------------------------------------------------------------------------


@contextlib.contextmanager
def destruction(site: Site) -> Iterator[Summary]:
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
        summary = _planned(site, plan, destroy=True)
        refuse_protected(site, by_variables=summary.protected)
        yield summary


def refuse_protected(site: Site, *, by_settings: bool = False, by_variables: bool = False) -> None:
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


def destroy(site: Site, summary: Summary) -> None:
    """Carry out the plan of ``destruction``, inside its block.

    Raises:
        LockedError: somebody else is at work on the stack.
        StoppedError: a signal came.
        SuiteError: Terraform failed half-way.
    """
    _apply(site, _scratch_path(site, "destroy"), summary, f"destroy {site.subject}")
    _discard(site.plan)


# -- locks ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unlock:
    """A lock that is to be removed.

    Attributes:
        subject: of which stack.
        lock_id: the lock.
        held: who holds it.
    """

    subject: str
    lock_id: str
    held: str

    @property
    def title(self) -> str:
        """What the plan is about."""
        return f"unlock {self.subject}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The one step there is."""
        return (Step("remove", f"lock {self.lock_id}", self.held),)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"lock": self.lock_id, "held": self.held}


def plan_unlock(site: Site, lock_id: str) -> Unlock | None:
    """Return the lock to be removed, or None where there is none.

    Raises:
        InputError: the id is missing, or another lock's.
        AwsError: S3 refused, or could not be reached.
    """
    lock = site.bucket.lock(site.key)
    if lock is None:
        return None
    if lock.id != lock_id:
        given = f"is not locked by {lock_id}" if lock_id else "is locked"
        raise InputError(
            f"the state of stack {site.name} {given}: {lock}",
            hint="once you are sure that this run is gone: "
            f"{site.command('unlock')} --id {lock.id}",
        )
    return Unlock(site.subject, lock.id, str(lock))


def run_unlock(plan: Unlock, site: Site) -> None:
    """Remove a lock.

    Raises:
        SuiteError: Terraform failed.
    """
    _init(site, rescue=True)
    with site.console.work(plan.title):
        site.terraform.unlock(plan.lock_id)


# -- how ------------------------------------------------------------------------------------------


def _init(site: Site, *, rescue: bool = False) -> None:
    if site.terraform.leftover.exists() and not rescue:
        raise RefusedError(
            f"stack {site.name}: the state of an earlier run was never stored",
            hint=site.terraform.rescue,
        )
    backend = {"bucket": site.bucket.name, "key": site.key, "region": site.region}
    with _stoppable(site), site.console.work(f"terraform init for {site.subject}") as activity:
        site.terraform.tell = activity.say
        site.terraform.init(backend, activity.line)


def _planned(site: Site, out: Path, *, destroy: bool = False) -> Summary:
    """Make a plan and save it in a file, and return what it does."""
    _init(site)
    values = {"stack": site.name, "region": site.region}
    title = f"plan {'the destruction of ' if destroy else ''}{site.subject}"
    with _stoppable(site), site.console.work(title) as activity:
        site.terraform.tell = activity.say
        # Terraform shows what a sensitive value was copied to in clear when that is destroyed.
        _mask(site, site.terraform.state())
        site.terraform.plan(
            out, site.files, values, destroy=destroy, on_line=_progress(activity, 0)
        )
        summary = _summary(site, out)
        activity.outcome = summary.headline
    return summary


def _summary(site: Site, plan: Path) -> Summary:
    document = site.terraform.show(plan)
    _mask(site, document)
    return summarise(document, site.subject)


def _mask(site: Site, document: dict[str, Any]) -> None:
    """Have every sensitive value masked from now on."""
    for secret in secrets_in(document):
        site.console.redactor.add(secret)


def _apply(site: Site, plan: Path, summary: Summary, title: str) -> None:
    steps = len(summary.changes) + summary.counts["replace"]
    with _stoppable(site, changing=True), site.console.work(title) as activity:
        site.terraform.tell = activity.say
        site.terraform.apply(plan, _progress(activity, steps))


def _progress(activity: Activity, steps: int) -> Callable[[str], None]:
    """Return what shows Terraform's lines, and counts what is done of so many steps."""
    done = 0

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
            activity.line(line)

    return take


@contextlib.contextmanager
def _stoppable(site: Site, *, changing: bool = False) -> Iterator[None]:
    """Tell how things stand, and what comes next, when a signal has ended Terraform."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        signum = getattr(interrupt, "signum", signal.SIGINT)
        if site.terraform.leftover.exists():
            raise StoppedError("stopped", signum, hint=site.terraform.rescue) from interrupt
        try:
            lock = site.bucket.lock(site.key)
        except AwsError as error:
            raise StoppedError(
                f"stopped; whether the state is still locked cannot be seen: {error}",
                signum,
                hint=f"see for yourself: {site.command('unlock')}",
            ) from interrupt
        if lock:
            raise StoppedError(
                f"stopped at once: the state of stack {site.name} is still locked ({lock})",
                signum,
                hint=f"{site.command('unlock')} --id {lock.id}, then {site.command('plan')}",
            ) from interrupt
        how = "stopped: what was done so far is in the state" if changing else "stopped"
        raise StoppedError(
            f"{how}, and nothing is locked", signum, hint=f"go on with {site.command('plan')}"
        ) from interrupt


def _record(site: Site, plan: Path) -> PlanRecord:
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


def _source(site: Site) -> str:
    """Return a SHA-256 over everything that a plan is made from, except the state."""
    digest = hashlib.sha256()
    folder = site.root / FOLDER
    code = (path for path in folder.rglob("*") if path.name.endswith(_SOURCES) and path.is_file())
    ours = [path for path in sorted(code) if ".terraform" not in path.parts]
    for path in (*ours, *site.files):
        digest.update(f"{os.path.relpath(path, site.root)}\0".encode(errors="surrogateescape"))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


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


def _scratch_path(site: Site, purpose: str) -> Path:
    return site.plan.with_name(f"{site.name}.{purpose}.tfplan")


@contextlib.contextmanager
def _scratch(site: Site, purpose: str) -> Iterator[Path]:
    """Yield the place of a plan that nobody applies later."""
    plan = _scratch_path(site, purpose)
    with _kept_on_success(plan):
        yield plan
    _discard(plan)
