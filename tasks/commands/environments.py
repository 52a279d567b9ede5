"""The life of a branch's environment: deploy, look at it, use it, remove it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

from invoke.exceptions import Exit

from tasks.app.session import ROOT, Session, check_format, task

if TYPE_CHECKING:
    from tasks.core.environment import Owner
    from tasks.core.names import Names
    from tasks.flows.deploy import Deployed
    from tasks.flows.target import Credentials, Inspector, RemovalPlan, Request


@task(help={"tag": "tag of the images (default: that of the commit checked out)"})
def deploy(
    session: Session,
    env: str = "",
    branch: str | None = None,
    tag: str = "",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Create or update the branch's environment, wait for it, test it and print its URL."""
    as_json = check_format(format)
    from tasks.app.wiring import user_at_host
    from tasks.flows.target import Request

    if tag:
        names = _names(session, env, branch)
        request = Request(names, session.git.repository(), user_at_host(), tag)
    else:
        request = of_checkout(session, env, branch)
    _deploy(session, request, dry=dry_run or session.dry, as_json=as_json)


@task(help={"to": "tag of the release to go back to (default: the one before the current)"})
def rollback(
    session: Session,
    env: str = "",
    branch: str | None = None,
    to: str = "",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Deploy an earlier release of the branch again, by its images; git is not asked."""
    as_json = check_format(format)
    from tasks.app.wiring import user_at_host
    from tasks.flows.target import Request

    names = _names(session, env, branch)
    _, owner = _existing(session, names)
    request = Request(names, owner.repository, user_at_host(), tag=to, rollback=True)
    _deploy(session, request, dry=dry_run or session.dry, as_json=as_json)


@task()
def cleanup(
    session: Session,
    branch: str,
    env: str = "",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Remove everything that belongs to a branch: what runs, database, files, image tags."""
    as_json = check_format(format)
    from tasks.app.wiring import registry, target, this_run
    from tasks.flows.cleanup import plan_cleanup, run_cleanup

    names = _names(session, env, branch)
    owner = _owner(session, names)
    remover = target(session, names.environment).remover
    dry = dry_run or session.dry
    holds_images = remover.holds_images(dry=dry)

    def plan() -> RemovalPlan:
        return plan_cleanup(
            remover,
            owner,
            names,
            tags=registry(session, names.environment) if holds_images else None,
            protected=session.settings.environment(names.environment).protected,
            root=ROOT,
        )

    if dry:
        session.console.plan(plan(), as_json=as_json)
        return
    removed = run_cleanup(remover, plan, names, me=this_run("cleanup"), console=session.console)
    if not removed:
        session.console.say(f"{names.branch}: nothing to remove")


@task(name="list")
def list_(session: Session, env: str = "", format: str = "text") -> None:
    """List all environments: state, commit, age, owner, URL."""
    as_json = check_format(format)
    from dataclasses import asdict

    from tasks.app.wiring import target
    from tasks.flows.views import list_rows, now

    environment, _ = session.environment(env)
    found = list(target(session, environment).inspector.list())
    if as_json:
        session.console.json([asdict(item) for item in found])
    elif found:
        columns = ("branch", "state", "commit", "age", "expires", "owner", "url")
        session.console.table(columns, list_rows(found, now()))
    else:
        session.console.say("there are no environments; make one: inv deploy")


@task()
def status(
    session: Session, env: str = "", branch: str | None = None, format: str = "text"
) -> None:
    """Show the services of a branch's environment, and its scheduled commands' runs."""
    as_json = check_format(format)
    from dataclasses import asdict

    from tasks.flows import schedules
    from tasks.flows.views import status_rows

    names = _names(session, env, branch)
    inspector, owner = _existing(session, names)
    parts = list(inspector.status(owner, names))
    if as_json:
        session.console.json([asdict(part) for part in parts])
        return
    columns = ("service", "state", "health", "image", "status")
    session.console.table(columns, status_rows([part for part in parts if part.image]))
    if scheduled := [part for part in parts if not part.image]:
        session.console.table(schedules.COLUMNS, schedules.rows(scheduled))


@task(
    help={
        "service": "only this service: web, fpm, worker, cron or database",
        "follow": "go on with new lines as they come",
        "tail": "lines per service to begin with",
    }
)
def logs(
    session: Session,
    env: str = "",
    branch: str | None = None,
    service: str = "",
    follow: bool = False,
    tail: int = 100,
) -> None:
    """Show what the services of a branch's environment write."""
    names = _names(session, env, branch)
    inspector, owner = _existing(session, names)
    say = session.console.data
    try:
        inspector.logs(owner, names, say, service=service, follow=follow, tail=tail)
    except KeyboardInterrupt:
        if not follow:
            raise


@task(help={"command": "the command as one text, instead of its words after --"})
def console(session: Session, env: str = "", branch: str | None = None, command: str = "") -> None:
    """Run a command of Mautic's console: inv console -- mautic:segments:update."""
    from tasks.app.wiring import tail

    words = tail(sys.argv, command)
    _execute(session, env, branch, "", ["mautic", "console", *words])


@task(
    help={
        "service": "where: web, fpm (the default), worker, cron or database",
        "command": "run this command in the shell, and leave it",
    }
)
def shell(
    session: Session,
    env: str = "",
    branch: str | None = None,
    service: str = "",
    command: str = "",
) -> None:
    """Open a shell in a service of a branch's environment."""
    words = ["sh", "-c", command] if command else ["bash"]
    _execute(session, env, branch, service, words)


@task()
def url(session: Session, env: str = "", branch: str | None = None) -> None:
    """Print the URL of a branch's environment."""
    names = _names(session, env, branch)
    _existing(session, names)
    session.console.data(names.url)


# -- what inv demo does, too ----------------------------------------------------------------------


def of_checkout(session: Session, env: str, branch: str | None) -> Request:
    """Return the request to deploy what is checked out.

    Raises:
        RefusedError: the environment is protected, and this is not what may go there.
    """
    from tasks.app.wiring import user_at_host
    from tasks.commands.build import subject_of
    from tasks.flows.build import guard
    from tasks.flows.target import Request

    subject = subject_of(session, env, branch)
    guard(subject, session.git)
    names, checkout = session.names(subject.name, subject.branch), subject.checkout
    return Request(names, subject.repository, user_at_host(), checkout.tag, checkout.commit)


def carry_out(session: Session, request: Request) -> Deployed:
    """Deploy what a request asks for, and return what it came to."""
    from tasks.app import wiring

    action = "rollback" if request.rollback else "deploy"
    committed = session.git.committed(request.commit) if request.commit else 0
    return wiring.deploy(session, request, action, committed)


def show_credentials(credentials: Credentials) -> None:
    """Show the first administrator, this once.

    The session's own console would mask the password, as everywhere else. A job's log is kept and
    read by many: there it only says where the password is.
    """
    from tasks.adapters.gitlab import is_job
    from tasks.adapters.terminal.console import Console
    from tasks.core.redact import Redactor

    once = Console(Redactor())
    if is_job(os.environ):
        once.success(f"log in as {credentials.username}; the password: {credentials.later}")
        return
    once.success(f"log in as {credentials.username} with the password {credentials.password}")
    once.say(f"  shown this once; later: {credentials.later}")


# -- what they share ------------------------------------------------------------------------------


def _names(session: Session, env: str, branch: str | None) -> Names:
    of_branch = session.branch(branch)
    environment, _ = session.environment(env, of_branch)
    return session.names(environment, of_branch)


def _owner(session: Session, names: Names) -> Owner:
    from tasks.flows.target import owner_of

    return owner_of(names, session.git.repository())


def _existing(session: Session, names: Names) -> tuple[Inspector, Owner]:
    """Return what looks at an environment that is there, and whose it is.

    Raises:
        InputError: it is not there.
    """
    from tasks.app.wiring import target
    from tasks.flows.views import absent

    inspector, owner = target(session, names.environment).inspector, _owner(session, names)
    if not inspector.status(owner, names):
        raise absent(inspector, names)
    return inspector, owner


def _deploy(session: Session, request: Request, *, dry: bool, as_json: bool) -> None:
    from tasks.app.wiring import target

    if dry:
        deployer = target(session, request.names.environment, dry=True).deployer
        session.console.plan(deployer.plan_deploy(request), as_json=as_json)
        return
    done = carry_out(session, request)
    if done.credentials:
        show_credentials(done.credentials)
    if as_json:
        session.console.json({"url": done.url, "changed": done.changed})
    else:
        session.console.data(done.url)


def _execute(
    session: Session, env: str, branch: str | None, service: str, words: list[str]
) -> NoReturn:
    """Run a command in a service, on this terminal, and end with its exit status."""
    names = _names(session, env, branch)
    inspector, owner = _existing(session, names)
    raise Exit(code=inspector.execute(owner, names, words, service=service))
