"""inv doctor, inv demo, inv test: what a machine needs, and the two first things to do with it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from invoke.exceptions import Exit

from tasks.app.paths import IS_PACKAGE
from tasks.app.task import check_format, forwarded_command, refuse_idle, task
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from tasks.app.session import Session

ALONE = {"lint", "types", "unit", "changed", "docs", "lock"}
"""Sessions of noxfile.py that need only .venv, or skip what is missing."""

SESSIONS = {"tests", "integration", "e2e", "node", "bench"} | ALONE
"""All sessions of noxfile.py."""

YES = "run the commands of a fix with sudo without asking"


@task(
    help={
        "fix": "install and start what is missing; every command is named before it runs",
        "yes": YES,
        "stop_engine": "stop an engine that --fix has started where there is no service manager",
    }
)
def doctor(
    session: Session,
    env: str = "",
    fix: bool = False,
    yes: bool = False,
    stop_engine: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Check everything this machine needs, and say or do what is missing."""
    from tasks.app import machine
    from tasks.flows.doctor import as_dict, refuse, text

    as_json = check_format(format)
    if stop_engine:
        refuse_idle("is not for --stop-engine", {"--fix": fix, "--yes": yes})
    elif not fix:
        refuse_idle("is for --fix", {"--yes": yes})
    found = machine.doctor(session, env)
    if stop_engine:
        if not found.stop_engine():
            session.console.say("no engine was started by `inv doctor --fix`")
        return
    if fix and (dry_run or session.dry):
        session.console.plan(found.plan(found.examine()), as_json=as_json)
        return
    report = machine.fix(session, found, yes=yes) if fix else found.examine()
    plan = found.plan(report)
    if as_json:
        session.console.json(as_dict(report, plan))
    else:
        session.console.data("\n".join(text(report, plan)))
    refuse(report, plan)


@task(help={"yes": YES})
def demo(
    session: Session, branch: str | None = None, yes: bool = False, dry_run: bool = False
) -> None:
    """Set this machine up, then build, deploy and list the branch that is checked out."""
    from tasks.app import environments, images, machine, wiring
    from tasks.core.settings import LOCAL
    from tasks.flows.demo import DemoPlan, run_demo
    from tasks.flows.doctor import refuse

    found = machine.doctor(session, LOCAL)
    names = session.names(LOCAL, branch)
    if dry_run or session.dry:
        session.console.plan(DemoPlan(names, found.plan(found.examine())))
        return
    report = machine.fix(session, found, yes=yes)
    refuse(report, found.plan(report))
    done = run_demo(
        names,
        build=lambda: images.branch_build(session, LOCAL, names.branch).make(),
        deploy=lambda: environments.deploy(
            session, environments.request(session, LOCAL, names.branch)
        ),
        inspector=wiring.target(session, LOCAL).inspector,
        console=session.console,
    )
    environments.show_deployed(session, done)


@task(
    help={
        "only": "a session of noxfile.py, e.g. unit; may be repeated (default: lint, types, tests)",
        "changed": "only the unit and integration tests that reach, by their imports or by the "
        "files they name, what differs from the default branch",
        "yes": YES,
    },
    iterable=["only"],
)
def test(
    session: Session, only: list[str] | None = None, changed: bool = False, yes: bool = False
) -> NoReturn:
    """Run lint, types and all tests; what follows -- goes to the sessions, e.g. to pytest."""
    from tasks.app import machine

    if IS_PACKAGE:
        raise InputError("inv test runs the suite's own tests, which its package does not bring")
    for name in only or []:
        if name not in SESSIONS:
            raise InputError(
                f"--only {name!r}: there is no such session",
                hint=f"the sessions of noxfile.py: {', '.join(sorted(SESSIONS))}",
            )
    wanted = [*(only or []), *(["changed"] if changed else [])]
    if not wanted or set(wanted) - ALONE:
        machine.fix_for_tests(session, yes=yes)
    # nox takes the last `--session` alone, with all names that follow it.
    sessions = ["--session", *wanted] if wanted else []
    words = forwarded_command(sys.argv)
    raise Exit(code=machine.run_nox(session, [*sessions, *(["--", *words] if words else [])]))
