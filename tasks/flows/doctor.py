"""Examines this machine, and installs what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.doctor.checks import (
    Facts,
    Finding,
    ImageHost,
    Need,
    Severity,
    judge,
    needs,
    problems,
)
from tasks.core.doctor.packages import GUIDE, FixCommand, install_commands, manual_install_hint
from tasks.core.errors import CommandError, SuiteError
from tasks.core.images.reference import parse_reference
from tasks.core.names import platform_name
from tasks.core.plan import Step
from tasks.core.plural import number_of

if TYPE_CHECKING:
    from tasks.adapters.host.apt import AptTool
    from tasks.adapters.host.docker_service import DockerService
    from tasks.adapters.host.machine import Machine, ServerAnswer
    from tasks.adapters.process import Runner
    from tasks.adapters.terminal.console import Activity
    from tasks.core.settings import Environment, Settings

ROUNDS = 4
"""Sources, packages, engine, and one to check that nothing is missing."""

COMMAND_SECONDS = 1800.0
"""A slow mirror may take this long for Docker's 300 MB; an apt that hangs must end."""

PORTS = {"proxy": "http_port", "registry": "registry_port", "mail": "mail_port"}
"""The services of the platform and the settings of their ports."""


@dataclass(frozen=True)
class DoctorReport:
    """The result of an examination: facts, and the findings about them."""

    facts: Facts
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that prevent the suite from working."""
        return problems(self.findings)

    @property
    def lacking(self) -> DoctorReport:
        """The report with only the findings that a fix could remedy, without ports."""
        return DoctorReport(
            self.facts, tuple(finding for finding in self.findings if finding.needs)
        )


@dataclass(frozen=True)
class FixPlan:
    """The commands that install or start what is missing.

    Attributes:
        commands: the commands in order.
        start: the command that starts the engine, run if it does not answer by then.
        told: instructions for the user, which the suite cannot carry out itself.
        sudo: whether the commands need sudo.
    """

    commands: tuple[FixCommand, ...] = ()
    start: FixCommand | None = None
    told: tuple[str, ...] = ()
    sudo: bool = False

    title = "fix this machine"

    @property
    def runnable(self) -> bool:
        """Whether there are commands, and nothing that the user must do first."""
        return bool(self.commands or self.start) and not self.told

    @property
    def steps(self) -> tuple[Step, ...]:
        """The commands as steps."""
        return tuple(Step("run", line) for line in self.lines)

    @property
    def lines(self) -> tuple[str, ...]:
        """The commands as typed in a shell."""
        commands = (*self.commands, *((self.start,) if self.start else ()))
        return (*(command.shown(sudo=self.sudo) for command in commands), *self.told)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, "commands": list(self.lines)}


@dataclass(frozen=True)
class Doctor:
    """Examines a machine, and fixes it.

    Attributes:
        service: starts the engine.
        runner: runs the commands of a fix.
        apt: used on Debian and Ubuntu only.
        settings: have the ports and images.
        environment: says whether stand-ins are allowed.
        work: shows a piece of work.
        tools: further programs to check.
        addresses: returns the findings about the environment: its stack, and GitLab.
    """

    machine: Machine
    service: DockerService
    runner: Runner
    apt: AptTool
    settings: Settings
    environment: Environment
    root: Path
    work: Callable[[str], AbstractContextManager[Activity]]
    tools: tuple[Need, ...] = ()
    addresses: Callable[[], tuple[Finding, ...]] = tuple

    def examine(self) -> DoctorReport:
        """Check everything this machine needs."""
        machine, platform = self.machine, self.settings.platform
        docker = machine.docker()
        system = machine.system()
        answers, sources = self._sources()
        told_time = any(answer.skew is not None for answer in answers.values())
        mirrors = () if told_time or not system.apt else self.apt.mirrors()
        facts = Facts(
            system=system,
            git=machine.git(),
            docker=docker,
            disk=machine.disk((*((Path(docker.root),) if docker.root else ()), self.root)),
            memory=machine.memory(),
            ports=tuple(
                machine.port(
                    service,
                    f"platform.{setting}",
                    platform.address,
                    getattr(platform, setting),
                    platform_name(self.settings.project),
                )
                for service, setting in PORTS.items()
            ),
            clock=machine.clock(answers, mirrors),
            sources=sources,
            standins=self.settings.images.source,
            protected=self.environment.protected,
            localhost=machine.localhost(),
            tools=machine.tools((Need.DEBOOTSTRAP, *self.tools)),
            terraform=machine.terraform(used=self.environment.stack is not None)
            if self.settings.stacks
            else None,
        )
        return DoctorReport(facts, (*judge(facts), *self.addresses()))

    def plan(self, report: DoctorReport) -> FixPlan:
        """Return the commands that meet the needs of the findings."""
        system = report.facts.system
        wanted = needs(report.findings)
        commands: list[FixCommand] = []
        told: list[str] = []
        # What to start is known only after the installation.
        complete = True
        if wanted and system.apt:
            known = self.apt.knowledge()
            installs = install_commands(wanted, known, system.codename)
            complete = known.updated or not installs
            if installs is None:
                told.append(f"# no package source of this machine has a usable Docker: {GUIDE}")
            else:
                commands += installs
        else:
            told += filter(None, [manual_install_hint(wanted)])
        if Need.GROUP in wanted:
            commands.append(FixCommand(("usermod", "-aG", "docker", system.user)))
        start = None
        if Need.START in wanted and complete and not told:
            daemon = report.facts.docker.daemon or "/usr/sbin/dockerd"
            start = self.service.start(daemon, systemd=system.systemd)
        return FixPlan(tuple(commands), start, tuple(told), sudo=not system.root)

    def fix(self, consent: Callable[[FixPlan], bool]) -> DoctorReport:
        """Install what is missing, in rounds: what one round installs, the next one may start.

        Args:
            consent: called before each round; returns whether it may run.

        Returns:
            The last report, with any remaining problems.

        Raises:
            CommandError: a command failed.
            EngineError: the engine was started and does not answer.
        """
        report = self.examine()
        done: list[FixPlan] = []
        for _ in range(ROUNDS):
            plan = self.plan(report)
            if not plan.runnable or plan in done or not consent(plan):
                break
            with self.work(plan.title) as activity:
                for command in plan.commands:
                    self._run(command, plan.sudo, activity)
                if plan.start and not self._answers():
                    self._run(plan.start, plan.sudo, activity)
                    self.service.wait(self._answers, ours=not report.facts.system.systemd)
            done.append(plan)
            report = self.examine()
        return report

    def stop_engine(self) -> bool:
        """Stop an engine that a fix started; return False if there is none.

        Raises:
            CommandError: it could not be stopped.
        """
        command = self.service.stop(self.machine.find("dockerd"))
        if command is None:
            return False
        with self.work("stop the engine") as activity:
            self._run(command, not self.machine.system().root, activity)
        return True

    def _run(self, command: FixCommand, sudo: bool, activity: Activity) -> None:
        activity.say(command.shown(sudo=sudo))
        argv = ("sudo", *command.argv) if sudo and command.root else command.argv
        said: list[str] = []

        def hear(line: str) -> None:
            said.append(line)
            activity.line(line)

        try:
            self.runner.run(argv, stdin=command.stdin, deadline=COMMAND_SECONDS, on_line=hear)
        except CommandError as error:
            if command.vital:
                # apt gives its reasons on stdout, and only the verdict on stderr.
                raise CommandError(
                    "a command of the fix failed",
                    command=error.command,
                    output="\n".join(said),
                ) from error
            activity.say(error.message)

    def _answers(self) -> bool:
        # A new account is not in the group yet: the engine is there all the same.
        return self.machine.docker().state != "silent"

    def _sources(self) -> tuple[dict[str, ServerAnswer], tuple[ImageHost, ...]]:
        """Return the answers of the base images' registries, and their hosts as facts."""
        if self.settings.images.source == "standins":
            return {}, ()
        images: dict[str, list[str]] = {}
        for image in _base_images(self.settings):
            images.setdefault(parse_reference(image).host, []).append(image)
        answers = self.machine.reach(images)
        return answers, tuple(
            ImageHost(
                host=host,
                images=tuple(images[host]),
                reached=answer.reached,
                detail=answer.detail,
                missing=() if answer.reached else self.machine.lacks(images[host]),
            )
            for host, answer in answers.items()
        )


def _base_images(settings: Settings) -> tuple[str, ...]:
    """Return the references of all images that are not built here."""
    return (
        f"debian:{settings.images.debian}-slim",
        settings.images.mautic,
        settings.platform.registry_image,
        settings.platform.database_image,
    )


def stack_findings(
    stack: str, arn: str, region: str, found: Mapping[str, tuple[Any, str]]
) -> tuple[Finding, ...]:
    """Return a finding for each value that a stack may set, with its origin.

    Args:
        stack: the stack's name.
        arn: who the credentials belong to.
        region: the stack's region.
        found: value and origin, by key.
    """
    check = f"stack {stack}"
    who = Finding("aws", Severity.OK, f"{region} as {arn}")
    values = (
        Finding(check, Severity.OK, f"{key}: {value} ({origin})")
        for key, (value, origin) in found.items()
    )
    return (who, *values)


def stack_problem(stack: str, error: SuiteError) -> Finding:
    """Return the finding for a stack that cannot be read, or whose values are incomplete."""
    return Finding(f"stack {stack}", Severity.PROBLEM, error.message, error.hint or "")


def text(report: DoctorReport, plan: FixPlan) -> list[str]:
    """Return the findings as lines of text, every remedy below its finding.

    Args:
        report: what was found.
        plan: the fix; what it brings is the remedy of the findings that need it.
    """
    width = max(len(finding.check) for finding in report.findings)
    lines = []
    for finding in _remedied(report, plan):
        lines.append(f"{finding.level:<7}  {finding.check:<{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"{'':7}  {'':{width}}  -> {finding.remedy}")
    return lines


def as_dict(report: DoctorReport, plan: FixPlan) -> dict[str, Any]:
    """Return the findings, and the commands of the fix, as JSON-ready data."""
    return {
        "ok": not report.problems,
        "findings": [finding.as_dict() for finding in _remedied(report, plan)],
        "fix": list(plan.lines),
    }


def refuse(report: DoctorReport, plan: FixPlan) -> None:
    """Raise if problems remain.

    Raises:
        SuiteError: they do; the hint names the commands that would help.
    """
    if not report.problems:
        return
    names = ", ".join(dict.fromkeys(finding.check for finding in report.problems))
    hint = None
    if plan.lines:
        by_us = "`./inv doctor --fix` runs this, or do it yourself"
        how = by_us if plan.runnable else "what to run"
        hint = "\n    ".join((f"{how}:", *plan.lines))
    raise SuiteError(f"{number_of(len(report.problems), 'problem')} found: {names}", hint=hint)


def _remedied(report: DoctorReport, plan: FixPlan) -> tuple[Finding, ...]:
    """Return the findings; those that the fix helps name it as their remedy."""
    fix = "./inv doctor --fix" if plan.runnable else "; ".join(plan.told)
    return tuple(
        dataclasses.replace(finding, remedy=", ".join(filter(None, (fix, finding.remedy))))
        if finding.needs
        else finding
        for finding in report.findings
    )
