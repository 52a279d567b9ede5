"""inv doctor, inv demo, inv test: what a machine needs, and the two first things to do with it."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from invoke.exceptions import Exit

from tasks.app.session import ROOT, Session, check_format, task

if TYPE_CHECKING:
    from tasks.core.doctor.checks import Finding, Need
    from tasks.flows.doctor import Doctor, FixPlan

ALONE = {"lint", "types", "unit", "docs", "lock"}
"""Sessions of noxfile.py that need nothing but .venv."""

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
    from tasks.flows.doctor import as_dict, refuse, text

    as_json = check_format(format)
    found = _doctor(session, env)
    if stop_engine:
        if not found.stop_engine():
            session.console.say("no engine was started by `inv doctor --fix`")
        return
    if fix and (dry_run or session.dry):
        session.console.plan(found.plan(found.examine()), as_json=as_json)
        return
    report = found.fix(functools.partial(_consent, session, yes)) if fix else found.examine()
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
    from tasks.app.wiring import target
    from tasks.commands.build import build_all
    from tasks.commands.environments import carry_out, of_checkout, show_credentials
    from tasks.core.settings import LOCAL
    from tasks.flows.demo import DemoPlan, run_demo
    from tasks.flows.doctor import refuse

    console = session.console
    found = _doctor(session, LOCAL)
    names = session.names(LOCAL, session.branch(branch))
    if dry_run or session.dry:
        console.plan(DemoPlan(names, found.plan(found.examine())))
        return
    report = found.fix(functools.partial(_consent, session, yes))
    refuse(report, found.plan(report))
    done = run_demo(
        names,
        build=lambda: build_all(session, LOCAL, names.branch),
        deploy=lambda: carry_out(session, of_checkout(session, LOCAL, names.branch)),
        environments=lambda: [*target(session, LOCAL).inspector.list()],
        console=console,
    )
    if done.credentials:
        show_credentials(done.credentials)
    console.data(done.url)


@task(
    help={
        "only": "a session of noxfile.py, e.g. unit; may be repeated (default: lint, types, tests)",
        "yes": YES,
    },
    iterable=["only"],
)
def test(session: Session, only: list[str] | None = None, yes: bool = False) -> NoReturn:
    """Run lint, types and all tests; what follows -- goes to the sessions, e.g. to pytest."""
    from tasks.adapters.host.venv import Venv
    from tasks.app.wiring import tail
    from tasks.core.doctor.checks import TEST_TOOLS
    from tasks.core.settings import LOCAL
    from tasks.core.variables import pythons
    from tasks.flows.doctor import refuse

    wanted = only or []
    if not wanted or set(wanted) - ALONE:
        found = _doctor(session, LOCAL, tools=TEST_TOOLS)
        report = found.fix(functools.partial(_consent, session, yes)).lacking
        refuse(report, found.plan(report))
    venv = Venv(session.runner, ROOT)
    if not venv.is_ready():
        with session.console.work("install requirements-dev.lock") as activity:
            venv.prepare(activity.line)
    sessions = [word for name in wanted for word in ("--session", name)]
    words = tail(sys.argv, "")
    argv = [venv.program("nox"), *sessions, *(["--", *words] if words else [])]
    raise Exit(code=session.runner.interact(argv, env=pythons(os.environ)))


def _consent(session: Session, yes: bool, plan: FixPlan) -> bool:
    """Return whether a fix may run. Root's consent is the command line itself."""
    from tasks.adapters.terminal.consent import ask

    if not plan.sudo:
        return True
    for line in plan.lines:
        session.console.say(f"  {line}")
    if not yes and not ask("Run this?"):
        return False
    # It may want a password: asked for once, here, before any progress is drawn.
    return session.runner.interact(["sudo", "--validate"]) == 0


def _doctor(session: Session, env: str, tools: tuple[Need, ...] = ()) -> Doctor:
    from tasks.adapters.docker.engine import Engine
    from tasks.adapters.host.apt import AptTool
    from tasks.adapters.host.docker_service import Service
    from tasks.adapters.host.machine import Machine
    from tasks.flows.doctor import Doctor

    name, environment = session.environment(env)
    return Doctor(
        machine=Machine(session.runner, Engine()),
        service=Service(session.runner),
        runner=session.runner,
        apt=AptTool(session.runner),
        settings=session.settings,
        environment=environment,
        root=ROOT,
        work=session.console.work,
        tools=tools,
        addresses=functools.partial(_addresses, session, name),
    )


def _addresses(session: Session, environment: str) -> tuple[Finding, ...]:
    """Return where an environment's addresses come from; none where it has no stack."""
    from tasks.core.errors import SuiteError
    from tasks.core.stack_outputs import origins
    from tasks.flows.doctor import stack_findings, stack_problem

    stack = session.settings.environment(environment).stack
    if stack is None:
        return ()
    try:
        session.settings_of(environment)
        aws = session.aws(stack)
        found = origins(session.levels_of(environment), environment)
        return stack_findings(stack, aws.identity.arn, aws.region, found)
    except SuiteError as error:
        return (stack_problem(stack, error),)
