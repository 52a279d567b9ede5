"""A deploy to any target: plan, apply, smoke test; on failure save diagnostics and roll back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from tasks.adapters.terminal.console import Console
from tasks.core.environment import Failure, Holder
from tasks.core.errors import RefusedError, SuiteError, VanishedError
from tasks.core.plan import merged
from tasks.core.points import Point, told
from tasks.flows.points import find_way_back, plan_rollback, saying_data, with_migration
from tasks.flows.smoke import smoke_test
from tasks.flows.target import Credentials, Deployer, DeployPlan, P, Request, Say


@dataclass(frozen=True)
class DeployResult:
    """The result of a deploy.

    Attributes:
        url: the site's URL.
        changed: whether anything had to be done.
        credentials: the administrator's, after a first deploy.
        plan: what was carried out, with the newest migration of its release.
        password: the command that shows the administrator's password.
    """

    url: str
    changed: bool
    credentials: Credentials | None
    plan: DeployPlan
    password: str


class FailedDeployError(SuiteError):
    """A deploy has failed after it had begun.

    Attributes:
        cause: why, in one line.
        became: what runs now.
        evidence: the folder with what was saved, below the checkout; empty if nothing was.
    """

    def __init__(self, branch: str, cause: str, became: str, evidence: str) -> None:
        where = f"; evidence: {evidence}" if evidence else ""
        super().__init__(f"{branch} was not deployed: {cause}", hint=f"{became}{where}")
        self.cause = cause
        self.became = became
        self.evidence = evidence


class Beginning(Protocol):
    """Brings the data that a new environment begins with."""

    def plant(self, plan: DeployPlan) -> None:
        """Load the seed of a plan into the server that branches share, unless it is there.

        Raises:
            SuiteError: it failed; there is no part of it.
        """

    def share(self, plan: DeployPlan) -> None:
        """Put the uploads of a plan's seed where its branches share them, unless they are there.

        Raises:
            SuiteError: it failed; nobody takes what has come for whole.
        """

    def upload(self, plan: DeployPlan) -> None:
        """Put the uploads of a planted seed in the place of what a fresh environment has.

        Raises:
            SuiteError: it failed; the next deploy does it anew.
        """

    def fill(self, plan: DeployPlan) -> None:
        """Put the data of a plan in the place of a fresh installation, and migrate it.

        Raises:
            SuiteError: it failed; the next deploy does it anew.
        """


def run_deploy(
    deployer: Deployer[P],
    request: Request,
    *,
    me: Holder,
    console: Console,
    root: Path,
    beginning: Beginning,
    agreed: Callable[[P], None] | None = None,
) -> DeployResult:
    """Deploy a branch, and return when its site answers.

    Args:
        me: this run, as the holder of the environment's lock.
        console: shows progress.
        root: the checkout; diagnostics, timings and ``deploy.env`` are written there.
        beginning: brings the data that was chosen.
        agreed: raises RefusedError if a plan is not what was agreed to; asked under the lock.

    Raises:
        SuiteError: it failed; the message is the cause, the hint has the state of the site.
    """
    names = request.names
    with _turn(deployer, request, me, console):
        # Planned under the lock, so that nothing changes between plan and execution.
        plan = find_plan(deployer, request, console.warn)
        if agreed:
            agreed(plan)
        steps = plan.steps
        _tell(plan, console)
        _secure(plan, console)
        try:
            with saying_data(plan, plan.request.restore, console):
                _carry_out(deployer, plan, console, beginning)
        except RefusedError:
            raise
        except SuiteError as error:
            raise _recover(
                error, deployer=deployer, plan=plan, console=console, root=root
            ) from error
        plan = with_migration(deployer, plan, console)
        credentials = deployer.finish(plan)
    if credentials and deployer.has_door:
        console.say(f"a login stands in front of the site: inv url --login {names.options}")
    if plan.mail_url:
        console.say(f"mails are shown there and not sent: {plan.mail_url}")
    write_results(root, plan)
    write_timings(root, console.timings)
    password = deployer.password_command(names)
    return DeployResult(names.url, bool(steps), credentials, plan, password)


def _carry_out(deployer: Deployer[P], plan: P, console: Console, beginning: Beginning) -> None:
    """Change the environment, bring its data, and look at the site."""
    names = plan.request.names
    if plan.steps:
        # Whatever fails from here on, the next deploy knows the data that was chosen.
        deployer.begin(plan)
    if plan.shares:
        beginning.share(plan)
    if plan.plants:
        beginning.plant(plan)
    if plan.steps:
        deployer.apply(plan)
    if plan.plants:
        beginning.upload(plan)
    if plan.fills:
        beginning.fill(plan)
    with console.work("smoke test") as activity:
        smoke_test(
            lambda path: deployer.get(names, path),
            activity.note,
            names.url,
            patience_seconds=deployer.smoke_seconds,
            as_stranger=(lambda path: deployer.get(names, path, stranger=True))
            if deployer.has_door
            else None,
            login_host=deployer.login_host,
        )


def find_plan(deployer: Deployer[P], request: Request, warn: Say) -> P:
    """Return what a deploy or a rollback would do; reads only."""
    if request.rollback:
        return plan_rollback(deployer, request, warn)
    return deployer.plan_deploy(request)


def _tell(plan: DeployPlan, console: Console) -> None:
    """Say what is about to be done."""
    if not plan.steps:
        console.say("everything is as it should be")
    if plan.kept:
        console.warn(plan.title)
    for step in merged(plan.steps) if console.brief else plan.steps:
        reason = f" ({step.reason})" if step.reason else ""
        console.say(f"  {step.verb:<7} {step.subject}{reason}")


def _secure(plan: DeployPlan, console: Console) -> None:
    """Take the snapshot of the server that a plan has to take; nothing is changed yet.

    Raises:
        SuiteError: it failed, or took too long.
    """
    server, names = plan.request.server, plan.request.names
    if not (server and plan.snapshot):
        return
    try:
        server.secure(names, plan.snapshot, console)
    except SuiteError as error:
        raise SuiteError(
            f"{names.branch} was not deployed: {error.message}", hint=error.hint
        ) from error


@contextlib.contextmanager
def _turn(deployer: Deployer[P], request: Request, me: Holder, console: Console) -> Iterator[None]:
    """Hold the environment's lock; create the environment again if it is removed meanwhile."""
    with contextlib.ExitStack() as turn:
        while True:
            deployer.prepare(request)
            try:
                turn.enter_context(deployer.exclusive(request.names, me, console.warn))
                break
            except VanishedError as error:
                if request.rollback:  # what it was to go back to is gone as well
                    raise
                console.warn(f"{error.message}: deploying afresh")
        yield


def _recover(
    error: SuiteError,
    *,
    deployer: Deployer[P],
    plan: P,
    console: Console,
    root: Path,
) -> FailedDeployError:
    """Save diagnostics, roll back, and return the error to raise."""
    names = plan.request.names
    console.error(error)
    now = datetime.now(UTC)
    folder = root / names.evidence / now.strftime("%Y%m%dT%H%M%SZ")
    failure = Failure.of(
        plan.release.tag, now.isoformat(timespec="seconds"), console.redactor(error.message)
    )
    try:
        with console.work("save the evidence") as activity:
            deployer.save_diagnostics(names, folder)
            cause = "\n".join(error.lines())
            (folder / "error.txt").write_text(console.redactor(f"{cause}\n"))
            activity.outcome = str(folder.relative_to(root))
    except (SuiteError, OSError) as second:
        # The rollback is more important.
        console.warn(f"not all of the evidence could be saved: {second}")
    became = "nothing was running before, so nothing was rolled back"
    try:
        point = _way_back(deployer, plan, console)
        with saying_data(plan, point, console):
            back = deployer.roll_back(plan, point, failure)
        if back:
            became = f"rolled back to {back}, which is running again"
            became += f", with its data: {point.title}" if point else ""
            became += _over_newer_schema(deployer, plan, console, back)
    except SuiteError as second:
        became = f"and the rollback failed, too: {second.message}"
    write_timings(root, console.timings)
    evidence = str(folder.relative_to(root)) if folder.is_dir() else ""
    return FailedDeployError(names.branch, error.message, became, evidence)


def _way_back(deployer: Deployer[P], plan: P, console: Console) -> Point | None:
    """Return the snapshot that an automatic rollback restores, and say so; None if there is none.

    It was taken in this deploy, while workers and crons were held, so that nearly nothing was
    written since: what visitors did. Without one the older code still runs again: what has failed
    serves nobody. That is told as an error's part.
    """
    try:
        point = find_way_back(deployer, plan)
    except SuiteError as error:
        console.warn(f"the data stays as it is: its snapshots cannot be read ({error.message})")
        return None
    if point:
        console.warn(
            f"the data goes back as well, to {point.title}; "
            "what was written since is kept as a snapshot: inv db.snapshots"
        )
    return point


def _over_newer_schema(deployer: Deployer[P], plan: P, console: Console, back: str) -> str:
    """Warn about older code on a migrated database; return the same for the error's hint."""
    try:
        newer = deployer.migrations(plan.request.owner, plan.request.names).newer
    except SuiteError as error:
        console.warn(f"could not check whether the database is newer than {back}: {error.message}")
        return ""
    if not newer:
        return ""
    way = "there is no snapshot from before them; deploy newer code soon, or restore a backup"
    if plan.snapshot:
        way = (
            f"RDS snapshot {plan.snapshot.name} is from before them; deploy newer code soon, or "
            "restore it into a new instance (docs/aws.md)"
        )
    console.warn(
        f"THE DATABASE IS NEWER THAN THE CODE: it has {told(newer)} that {back} does not know, and "
        f"{way}"
    )
    return f", over a database with {told(newer)} that {back} does not know"


def write_results(root: Path, plan: DeployPlan) -> None:
    """Write what was deployed to ``deploy.env``, for later CI jobs.

    GitLab reads it as a dotenv report: NAME=value, no quotes.
    """
    names = plan.request.names
    variables = {
        "ENVIRONMENT_NAME": names.environment,
        "ENVIRONMENT_SLUG": names.slug,
        "ENVIRONMENT_URL": names.url,
        "ENVIRONMENT_NAMESPACE": names.namespace,
        "ENVIRONMENT_TAG": plan.release.tag,
        "ENVIRONMENT_COMMIT": plan.release.commit,
        **{f"{name.upper()}_IMAGE": image for name, image in plan.images.items()},
    }
    text = "".join(f"{name}={value}\n" for name, value in variables.items())
    (root / "deploy.env").write_text(text)


def write_timings(root: Path, timings: Sequence[tuple[str, float]]) -> None:
    """Write the seconds of each phase to artifacts/timings.json, also after a failed deploy."""
    folder = root / "artifacts"
    folder.mkdir(exist_ok=True)
    phases = [{"phase": title, "seconds": round(seconds, 3)} for title, seconds in timings]
    (folder / "timings.json").write_text(json.dumps(phases, indent=2) + "\n")
