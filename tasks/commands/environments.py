"""The life of a branch's environment: deploy, look at it, use it, remove it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from invoke.exceptions import Exit

from tasks.app.out import check_summary
from tasks.app.task import (
    NEW,
    check_format,
    forwarded_command,
    refuse_idle,
    task,
    whole_number,
)
from tasks.core.durations import hours_of, seconds_of

if TYPE_CHECKING:
    from tasks.app.session import Session
    from tasks.flows.plan import WholePlan
    from tasks.flows.target import Request


LINES = 100
"""How many lines of each service `inv logs` shows where nobody says it."""
_SUMMARY = "file that what became of it is appended to, as Markdown (default: news.summary)"


@task(
    help={
        "tag": "tag of the images (default: that of the commit checked out)",
        "data": "what a new environment begins with: empty, seed (the newest), seed:ID, or another "
        "branch's full name (default: its setting)",
        "summary": _SUMMARY,
        "no_capacity_check": "go on even if the cluster seems to have too little left for it",
        "plan": "do just what this file of inv plan --out says, or refuse with exit code 3 if what "
        "it depends on has changed since; it says environment, branch, tag, data and builds",
        "no_build": "build no images; without it those that the registry lacks are built first",
        "new": NEW,
    }
)
def deploy(
    session: Session,
    env: str = "",
    branch: str | None = None,
    tag: str = "",
    data: str | None = None,
    summary: str = "",
    no_capacity_check: bool = False,
    plan: str = "",
    no_build: bool = False,
    new: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Create or update the branch's environment, wait for it, test it and print its URL."""
    from tasks.app import branches, environments

    as_json = check_format(format)
    check_summary(summary)
    dry = dry_run or session.dry
    fit = not no_capacity_check
    if plan:
        said = {"--env": env, "--branch": branch is not None, "--new": new, "--tag": tag}
        built = {"--data": data is not None, "--no-build": no_build}
        refuse_idle("is not for --plan, which says it", {**said, **built})
        _deploy_saved(session, Path(plan), summary, must_fit=fit, dry=dry, as_json=as_json)
        return
    if not tag:
        branches.check_given(session, branch, new=new)
    request = environments.request(session, env, branch, tag, data, must_fit=fit, dry=dry)
    _deploy(session, request, summary, build=not (tag or no_build), dry=dry, as_json=as_json)


@task(
    help={
        "to": "tag of the release to go back to (default: the one before the current; after a "
        "deploy that has not ended, the current)",
        "with_data": "also restore the snapshot from before the migrations that the release does "
        "not know; what was written since is kept as a snapshot",
        "keep_data": "leave the data as it is, even where the database is newer than the release "
        "(else that is refused)",
        "summary": _SUMMARY,
    }
)
def rollback(
    session: Session,
    env: str = "",
    branch: str | None = None,
    to: str = "",
    with_data: bool = False,
    keep_data: bool = False,
    summary: str = "",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Deploy an earlier release of the branch again, by its images; git is not asked."""
    from tasks.app import environments

    as_json = check_format(format)
    check_summary(summary)
    request = environments.rollback_request(
        session, env, branch, to, with_data=with_data, keep_data=keep_data
    )
    _deploy(session, request, summary, dry=dry_run or session.dry, as_json=as_json)


@task(
    help={
        "branch": "full branch name; must be given, also for the one that is checked out",
        "summary": _SUMMARY,
    }
)
def cleanup(
    session: Session,
    branch: str,
    env: str = "",
    summary: str = "",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Remove everything that belongs to a branch: what runs, database, files, image tags."""
    from tasks.app import news
    from tasks.app.branches import absence
    from tasks.app.environments import BranchCleanup
    from tasks.app.wiring import settled
    from tasks.flows.cleanup import refuse_protected

    as_json = check_format(format)
    dry = dry_run or session.dry
    check_summary(summary)
    names = settled(session, session.unprotected_names(env, branch, refuse_protected))
    removal = BranchCleanup(session, names, dry=dry)
    if dry:
        session.console.plan(removal.plan(), as_json=as_json)
        return
    removed = news.cleanup(session, removal, names, summary)
    if as_json:
        where = {"environment": names.environment, "branch": names.branch}
        session.console.json({**where, "removed": removed})
    if not removed:
        nowhere = absence(session, names.branch)
        session.console.say(f"{names.branch}: nothing to remove{f'; {nowhere}' if nowhere else ''}")


@task(name="list")
def list_(session: Session, env: str = "", format: str = "text") -> None:
    """List all environments: state, commit, age, owner, URL."""
    from tasks.app import wiring
    from tasks.core.summary import misnamed_lines, unreadable_lines
    from tasks.flows.views import LIST_COLUMNS, list_rows, now

    as_json = check_format(format)
    environment, _ = session.environment(env)
    found = wiring.target(session, environment).inspector.list(session.git.repository())
    idle = wiring.idle_platform(session, environment) if found else ""
    for line in filter(None, (*unreadable_lines(found), *misnamed_lines(found), idle)):
        session.console.warn(line)
    if as_json:
        session.console.json([asdict(item) for item in found])
    elif found:
        session.console.table(LIST_COLUMNS, list_rows(found, now()), below=True)
    else:
        session.console.say("there are no environments; make one: inv deploy")


@task(help={"verbose": "show every scheduled command, also those that have run well"})
def status(
    session: Session,
    env: str = "",
    branch: str | None = None,
    verbose: bool = False,
    format: str = "text",
) -> None:
    """Show the services of a branch's environment, its sleep, and its scheduled commands."""
    from tasks.app import existing, wiring
    from tasks.flows import schedules
    from tasks.flows.views import STATUS_COLUMNS, now, rest_lines, rest_part, status_rows

    as_json = check_format(format)
    found = existing.find_existing(session, env, branch)
    scheduled, rest = found.inspector.scheduled(found.owner, found.names), found.rest
    if idle := wiring.idle_platform(session, found.names.environment):
        session.console.warn(idle)
    if as_json:
        parts = [asdict(part) for part in (*found.parts, *scheduled)]
        session.console.json([*parts, *rest_part(rest, now())])
        return
    for line in rest_lines(rest, now()):
        session.console.say(line)
    session.console.table(STATUS_COLUMNS, status_rows(found.parts))
    shown = scheduled if verbose else schedules.troubled(scheduled)
    if shown:
        session.console.table(schedules.COLUMNS, schedules.rows(shown))
    if len(shown) < len(scheduled):
        options = found.names.options
        said = schedules.summary(scheduled)
        session.console.say(f"{said}; each of them: inv status {options} --verbose")
    if mail_url := existing.mail_url(session, found):
        session.console.say(f"mails are shown there and not sent: {mail_url}")


@task()
def releases(
    session: Session, env: str = "", branch: str | None = None, format: str = "text"
) -> None:
    """List what was deployed to a branch's environment: when, by whom, with what result."""
    from tasks.app import existing
    from tasks.flows.views import RELEASE_COLUMNS, release_parts, release_rows

    as_json = check_format(format)
    found = existing.find_existing(session, env, branch)
    record = found.inspector.record(found.owner, found.names)
    parts = release_parts(record) if record else []
    if as_json:
        session.console.json(parts)
    elif parts:
        session.console.table(RELEASE_COLUMNS, release_rows(parts))
    else:
        session.console.say(f"{found.names.branch}: nothing was deployed so far")


@task(
    help={
        "service": "only this service: web, fpm, worker, cron or database",
        "follow": "go on with new lines as they come",
        "tail": "lines per service to begin with (default: 100, or all of --since)",
        "since": "only what was written within that time: 90s, 10m, 2h, 7d",
    }
)
def logs(
    session: Session,
    env: str = "",
    branch: str | None = None,
    service: str = "",
    follow: bool = False,
    tail: str | None = None,
    since: str | None = None,
) -> None:
    """Show what the services of a branch's environment write."""
    from tasks.app import existing

    within = 0 if since is None else seconds_of(since, "since")
    unasked = None if within else LINES
    lines = unasked if tail is None else whole_number("tail", tail)
    found, say = existing.find_existing(session, env, branch), session.console.data
    try:
        found.inspector.logs(
            *(found.owner, found.names, say),
            service=service,
            follow=follow,
            tail=lines,
            since_seconds=within,
        )
    except KeyboardInterrupt:
        if not follow:
            raise


@task(help={"command": "the command as one text, instead of its words after --"})
def console(session: Session, env: str = "", branch: str | None = None, command: str = "") -> None:
    """Run a command of Mautic's console: inv console -- mautic:segments:update."""
    words = forwarded_command(sys.argv, command)
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


@task(
    help={
        "login": "and the login that stands in front of it",
        "link": "a link that passes that login for so long: 12h, 7d, 2w",
    }
)
def url(
    session: Session,
    env: str = "",
    branch: str | None = None,
    login: bool = False,
    link: str = "",
) -> None:
    """Print the URL of a branch's environment."""
    from tasks.app import existing

    if link:
        refuse_idle("is not for --link, which passes it", {"--login": login})
    hours = hours_of(link, "link") if link else 0
    found = existing.find_existing(session, env, branch)
    if login or link:
        existing.show_door(session, found, hours)
    else:
        session.console.data(found.names.url)


def _deploy(
    session: Session,
    request: Request,
    summary: str,
    *,
    dry: bool,
    as_json: bool,
    build: bool = False,
) -> None:
    """Deploy what a request asks for, or only print the plan.

    Args:
        build: build the images that the registry lacks.
    """
    from tasks.app import environments, news, plan, wiring
    from tasks.app.sleep import be_used

    if request.rollback:
        # What it goes back from and to is asked of its database.
        target = wiring.target(session, request.names.environment, dry=dry)
        guard = partial(target.deployer.plan_deploy, request)
        be_used(session, target, request.owner, request.names, dry=dry, guard=guard)
    if dry:
        _show_plan(session, plan.of_request(session, request, build=build), as_json=as_json)
        return
    deploy = partial(environments.deploy, session, request, build=build)
    done = news.deploy(session, request, deploy, summary)
    environments.show_deployed(session, done, as_json=as_json)


def _deploy_saved(
    session: Session, path: Path, summary: str, *, must_fit: bool, dry: bool, as_json: bool
) -> None:
    """Do what a saved plan says, or only check that it still holds and show it."""
    from tasks.app import environments, plan

    saved, made = plan.reopen(session, path, must_fit=must_fit)
    if dry:
        _show_plan(session, made.plan, as_json=as_json)
    else:
        done = plan.carry_out(session, saved, made, summary, must_fit=must_fit)
        environments.show_deployed(session, done, as_json=as_json)


def _show_plan(session: Session, plan: WholePlan, *, as_json: bool) -> None:
    if as_json:
        session.console.json(plan.as_dict())
    else:
        session.console.data("\n".join(plan.lines()))


def _execute(
    session: Session, env: str, branch: str | None, service: str, words: list[str]
) -> NoReturn:
    """Run a command in a service, on this terminal, and end with its exit status."""
    from tasks.app import existing
    from tasks.app.sleep import be_used

    found = existing.find_existing(session, env, branch)

    def guard() -> None:
        if service:
            found.inspector.check_service(found.owner, found.names, service)

    be_used(session, found.target, found.owner, found.names, guard=guard)
    raise Exit(code=found.inspector.execute(found.owner, found.names, words, service=service))
