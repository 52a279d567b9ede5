"""A deploy, wherever it goes: plan, apply, smoke test; on failure evidence, then the way back."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.adapters.terminal.console import Console
from tasks.core.environment import Holder
from tasks.core.errors import RefusedError, SuiteError, VanishedError
from tasks.flows.smoke import smoke_test
from tasks.flows.target import Credentials, Deployer, DeployPlan, P, Request


@dataclass(frozen=True)
class DeployResult:
    """What a deploy came to.

    Attributes:
        url: where a browser finds the site.
        changed: whether anything had to be done.
        credentials: of a first deploy's administrator.
    """

    url: str
    changed: bool
    credentials: Credentials | None


def run_deploy(
    deployer: Deployer[P], request: Request, *, me: Holder, console: Console, root: Path
) -> DeployResult:
    """Deploy a branch, and do not return before its site answers.

    Args:
        deployer: makes and changes environments.
        request: what is wanted.
        me: this run, for everybody else who wants to change this environment meanwhile.
        console: where progress goes.
        root: the checkout; evidence, timings and ``deploy.env`` are written there.

    Raises:
        SuiteError: it failed; the message is the cause, the hint says what became of the site.
    """
    names = request.names
    with _turn(deployer, request, me, console):
        # Planned under the lock: nobody changes anything between the decision and the deed.
        plan = deployer.plan_deploy(request)
        steps = plan.steps
        if not steps:
            console.say(f"{plan.title}: everything is as it should be")
        for step in steps:
            reason = f" ({step.reason})" if step.reason else ""
            console.say(f"  {step.verb:<7} {step.subject}{reason}")
        try:
            if steps:
                deployer.apply(plan)
            with console.work("smoke test") as activity:
                smoke_test(
                    lambda path: deployer.get(names, path),
                    activity.say,
                    names.url,
                    patience_seconds=deployer.smoke_seconds,
                )
        except RefusedError:
            raise
        except SuiteError as error:
            raise _failed(
                error, deployer=deployer, plan=plan, console=console, root=root
            ) from error
        credentials = deployer.finish(plan)
    write_results(root, plan)
    write_timings(root, console.timings)
    return DeployResult(names.url, bool(steps), credentials)


@contextlib.contextmanager
def _turn(deployer: Deployer[P], request: Request, me: Holder, console: Console) -> Iterator[None]:
    """Hold the environment; one that is removed while this run waits for it is made anew."""
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


def _failed(
    error: SuiteError,
    *,
    deployer: Deployer[P],
    plan: P,
    console: Console,
    root: Path,
) -> SuiteError:
    """Save the evidence, go back to the release before, and return the error to raise."""
    names = plan.request.names
    console.error(error)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = root / "artifacts" / names.slug / stamp
    try:
        with console.work("save the evidence") as activity:
            deployer.save_diagnostics(names, folder)
            cause = "\n".join(error.lines())
            (folder / "error.txt").write_text(console.redactor(f"{cause}\n"))
            activity.outcome = str(folder.relative_to(root))
    except (SuiteError, OSError) as second:
        # The way back matters more.
        console.warn(f"not all of the evidence could be saved: {second}")
    became = "nothing was running before, so nothing was rolled back"
    try:
        back = deployer.roll_back(plan)
        if back:
            became = f"rolled back to {back}, which is running again"
            became += _over_newer_schema(deployer, plan.request, console, back)
    except SuiteError as second:
        became = f"and the rollback failed, too: {second.message}"
    write_timings(root, console.timings)
    evidence = f"; evidence: {folder.relative_to(root)}" if folder.is_dir() else ""
    return SuiteError(
        f"{names.branch} was not deployed: {error.message}", hint=f"{became}{evidence}"
    )


SHOWN_MIGRATIONS = 5
"""How many migrations are named."""


def _over_newer_schema(deployer: Deployer[P], request: Request, console: Console, back: str) -> str:
    """Warn of older code over a migrated database; return the same for the error's hint.

    A migration is never undone: the release that was gone back to may fail on what it has done.
    """
    try:
        newer = deployer.newer_migrations(request.owner, request.names)
    except SuiteError as error:
        console.warn(
            f"whether the database is newer than {back} could not be asked: {error.message}"
        )
        return ""
    if not newer:
        return ""
    names = ", ".join(newer[-SHOWN_MIGRATIONS:])
    more = f" and {len(newer) - SHOWN_MIGRATIONS} more" if len(newer) > SHOWN_MIGRATIONS else ""
    what = f"{len(newer)} migration{'s' if len(newer) > 1 else ''} that {back} does not know"
    console.warn(
        f"the database has {what} ({names}{more}): older code runs over a newer schema; "
        "deploy newer code soon, or restore a backup"
    )
    return f", over a database with {what} ({names}{more})"


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
    """Write the seconds of each phase, those of a failed deploy too, to artifacts/timings.json."""
    folder = root / "artifacts"
    folder.mkdir(exist_ok=True)
    phases = [{"phase": title, "seconds": round(seconds, 3)} for title, seconds in timings]
    (folder / "timings.json").write_text(json.dumps(phases, indent=2) + "\n")
