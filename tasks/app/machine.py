"""Puts together the doctor of this machine, and what tests need on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from tasks.adapters.docker.engine import Engine
from tasks.adapters.gitlab_project import TOKEN, gitlab_facts
from tasks.adapters.host.apt import AptTool
from tasks.adapters.host.docker_service import DockerService
from tasks.adapters.host.machine import Machine
from tasks.adapters.host.venv import Venv
from tasks.adapters.terminal.consent import ask_consent
from tasks.app.clusters import cluster
from tasks.app.paths import PROJECT, ROOT
from tasks.app.session import Session
from tasks.core.doctor.checks import TEST_TOOLS, Finding, Need, Severity
from tasks.core.doctor.cluster_access import CHECK, judge_access
from tasks.core.doctor.gitlab import GitlabFacts, judge_gitlab
from tasks.core.errors import SuiteError
from tasks.core.settings import LOCAL
from tasks.core.stack_outputs import origins
from tasks.core.variables import python_variables
from tasks.flows.doctor import Doctor, DoctorReport, FixPlan, refuse, stack_findings, stack_problem
from tasks.flows.kubernetes.access import MEMBERS


def doctor(session: Session, env: str, tools: tuple[Need, ...] = ()) -> Doctor:
    """Return the doctor of this machine.

    Args:
        session: the run.
        env: what ``--env`` said.
        tools: what is needed besides the environment's needs.
    """
    name, environment = session.environment(env)
    return Doctor(
        machine=Machine(session.runner, Engine()),
        service=DockerService(session.runner),
        runner=session.runner,
        apt=AptTool(session.runner),
        settings=session.settings,
        environment=environment,
        root=PROJECT,
        work=session.console.work,
        tools=tools,
        addresses=partial(_of_environment, session, name),
    )


def fix(session: Session, doctor: Doctor, *, yes: bool) -> DoctorReport:
    """Install what this machine lacks, with consent; errors as for ``Doctor.fix``.

    Args:
        yes: whether the command line has given consent.
    """
    return doctor.fix(partial(_consent, session, yes))


def fix_for_tests(session: Session, *, yes: bool) -> None:
    """Install what the tests need; they do not use the platform's ports.

    Raises:
        SuiteError: something is still missing.
    """
    found = doctor(session, LOCAL, tools=TEST_TOOLS)
    report = fix(session, found, yes=yes).lacking
    refuse(report, found.plan(report))


def run_nox(session: Session, words: Sequence[str]) -> int:
    """Run nox on this terminal and return its exit status; first install its packages if needed.

    Args:
        session: the run.
        words: nox's arguments.
    """
    venv = Venv(session.runner, ROOT)
    if not venv.is_ready():
        with session.console.work("install requirements-dev.lock") as activity:
            venv.prepare(activity.line)
    return session.runner.interact([venv.program("nox"), *words], env=python_variables(os.environ))


def _consent(session: Session, yes: bool, plan: FixPlan) -> bool:
    """Return True if a fix may run; without sudo, no consent is needed."""
    if not plan.sudo:
        return True
    for line in plan.lines:
        session.console.say(f"  {line}")
    if not yes and not ask_consent("Run this?"):
        return False
    # It may ask for a password: only once, here, before any progress is shown.
    return session.runner.interact(["sudo", "--validate"]) == 0


def _of_environment(session: Session, environment: str) -> tuple[Finding, ...]:
    """Return the findings on an environment: addresses, rights of jobs, GitLab if protected."""
    return (
        *_addresses(session, environment),
        *_jobs_rights(session, environment),
        *_gitlab(session, environment),
    )


def _jobs_rights(session: Session, environment: str) -> tuple[Finding, ...]:
    """Return the finding on how jobs enter a cluster; none elsewhere, nor without its stack."""
    own = session.settings.environment(environment)
    if own.target != "kubernetes":
        return ()
    try:
        own = session.settings_of(environment).environment(environment)
    except SuiteError:
        return ()  # `_addresses` tells of it
    try:
        access, _ = cluster(session, environment)
        main, branches = (access.get("ClusterRoleBinding", name) for name in MEMBERS)
    except SuiteError as error:
        return (Finding(CHECK, Severity.WARNING, error.message, error.hint or ""),)
    token = own.cluster.token if own.cluster else None
    return (judge_access(main, branches, token),)


def _gitlab(session: Session, environment: str) -> tuple[Finding, ...]:
    """Return the findings on what a protected environment relies on in GitLab."""
    if not session.settings.environment(environment).protected:
        return ()
    session.redactor.add(os.environ.get(TOKEN, ""))
    tag = os.environ.get("PROTECTED_RUNNER_TAG") or "protected"
    try:
        repository = session.git.repository()
    except SuiteError as error:
        return judge_gitlab(GitlabFacts(unknown=error.message), tag)
    return judge_gitlab(gitlab_facts(os.environ, repository, tag), tag)


def _addresses(session: Session, environment: str) -> tuple[Finding, ...]:
    """Return the findings on where an environment's addresses come from; none without a stack."""
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
