"""The doctor's checks: from facts about a machine to findings with remedies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from tasks.core.engine_address import context_fault
from tasks.core.engine_address import remedy as engine_remedy

ENGINE_MIN = (23, 0)
"""BuildKit as the default builder, named contexts and here-documents without a syntax image."""

BUILDX_MIN = (0, 10)
"""bake with `target:` contexts and attestations."""

COMPOSE_MIN = (2, 20)
"""The Go plugin with `up --wait`; version 1 is another program that only shares the name."""

TERRAFORM_MIN = (1, 11)
"""A lock on the state in S3 without DynamoDB (``required_version`` of terraform/versions.tf)."""

TERRAFORM_REMEDY = (
    f"install Terraform {'.'.join(map(str, TERRAFORM_MIN))} or later: "
    "https://developer.hashicorp.com/terraform/install"
)

GIB = 1 << 30
DISK_NEEDED_BYTES = 3 * GIB
"""Disk space of one branch: both images, its database, the build cache."""
DISK_COMFORT_BYTES = 10 * GIB

MEMORY_NEEDED_BYTES = 1 * GIB
"""One branch idles at some 0.9 GiB, half of it MySQL."""
MEMORY_COMFORT_BYTES = 2 * GIB

SKEW_WARNING_SECONDS = 60
SKEW_PROBLEM_SECONDS = 300
"""Signed requests (AWS Signature Version 4) are refused beyond five minutes."""

_SLOW_DRIVERS = {"vfs", "devicemapper"}


class Severity(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


class Need(StrEnum):
    """Something that ``inv doctor --fix`` can bring to a machine."""

    GIT = "git"
    ENGINE = "engine"
    CLIENT = "client"
    BUILDX = "buildx"
    COMPOSE = "compose"
    DEBOOTSTRAP = "debootstrap"
    CHROMIUM = "chromium"
    CHROMEDRIVER = "chromedriver"
    RSYNC = "rsync"
    BASH_COMPLETION = "bash-completion"
    ZSH = "zsh"
    FISH = "fish"
    START = "start"
    GROUP = "group"


TEST_TOOLS = (
    *(Need.CHROMIUM, Need.CHROMEDRIVER, Need.RSYNC),
    *(Need.BASH_COMPLETION, Need.ZSH, Need.FISH),
)
"""What only tests need: a browser, rsync for gitlab-ci-local, and shells that complete."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: its subject, e.g. ``engine``.
        found: the result in one sentence.
        remedy: what to type or change; empty if nothing is wrong, or if ``needs`` are the remedy.
        needs: what ``--fix`` would install or start.
    """

    check: str
    level: Severity
    found: str
    remedy: str = ""
    needs: tuple[Need, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready data."""
        return {
            "check": self.check,
            "level": self.level.value,
            "found": self.found,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class SystemFacts:
    """The operating system, the Python and the user.

    Attributes:
        name: the operating system's name from os-release.
        machine: processor architecture, e.g. ``x86_64``.
        python: version of the running Python.
        root: whether the user is root.
        apt: whether there is apt, with which ``--fix`` installs.
        codename: the Debian or Ubuntu release, from os-release.
        systemd: whether systemd is process 1.
        member: whether the user is in the group docker, though perhaps not yet in this login.
    """

    name: str
    machine: str
    python: str
    user: str
    root: bool
    sudo: bool
    apt: bool
    codename: str
    systemd: bool
    member: bool = False


@dataclass(frozen=True)
class DockerFacts:
    """The engine as its client sees it.

    Attributes:
        client: path of ``docker`` on PATH, or empty.
        daemon: path of ``dockerd``, or empty.
        host: the setting that selects another engine, e.g. ``DOCKER_HOST=…``, or empty.
        state: whether the engine answered.
        error: the client's error if it could not reach the engine.
        version: the engine's version, or empty.
        root: its data directory.
        buildx: version of the plugin, or empty.
        compose: version of the plugin, or empty.
    """

    client: str = ""
    daemon: str = ""
    host: str = ""
    state: Literal["answers", "forbidden", "silent"] = "silent"
    error: str = ""
    version: str = ""
    driver: str = ""
    root: str = ""
    buildx: str = ""
    compose: str = ""


@dataclass(frozen=True)
class PortUse:
    """One port that the platform needs.

    Attributes:
        service: the platform's service, e.g. ``proxy``.
        address: the address it is published on.
        holder: the program that listens on it: empty if none, ``ours`` for the platform itself.
        free: a free port nearby.
    """

    service: str
    setting: str
    address: str
    port: int
    holder: str
    free: int


@dataclass(frozen=True)
class ImageHost:
    """A registry of base images.

    Attributes:
        images: the references that are pulled from it.
        detail: its status, or why it did not answer.
        missing: the images that the engine lacks.
    """

    host: str
    images: tuple[str, ...]
    reached: bool
    detail: str
    missing: tuple[str, ...]


@dataclass(frozen=True)
class ClockSkew:
    """The difference between this machine's clock and another one's.

    Attributes:
        reference: the server it was compared with; empty when none could be reached.
        skew: seconds that this machine is ahead.
    """

    reference: str = ""
    skew: float = 0.0


@dataclass(frozen=True)
class TerraformFacts:
    """The Terraform that `inv infra.*` runs.

    Attributes:
        path: path of ``terraform`` on PATH, or empty.
        version: its version, empty if unknown.
        used: whether the environment uses a stack.
    """

    path: str = ""
    version: str = ""
    used: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything the doctor has examined.

    Attributes:
        git: git's version, or empty.
        disk: free bytes by directory.
        memory: available bytes, or None if unknown.
        sources: the registries of the base images.
        standins: ``images.source`` of the settings.
        protected: whether the environment refuses stand-ins.
        localhost: addresses of a name below .localhost; empty if it does not resolve.
        tools: paths of further programs, empty if missing.
        terraform: None if the settings have no stack.
    """

    system: SystemFacts
    git: str = ""
    docker: DockerFacts = field(default_factory=DockerFacts)
    disk: Mapping[str, int] = field(default_factory=dict)
    memory: int | None = None
    ports: Sequence[PortUse] = ()
    clock: ClockSkew = field(default_factory=ClockSkew)
    sources: Sequence[ImageHost] = ()
    standins: Literal["auto", "official", "standins"] = "auto"
    protected: bool = False
    localhost: tuple[str, ...] = ()
    tools: Mapping[Need, str] = field(default_factory=dict)
    terraform: TerraformFacts | None = None


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Return the findings for the facts, in the order in which they are shown."""
    bases, standins = _bases(facts)
    return (
        _system(facts.system),
        _git(facts.git),
        *_docker(facts.docker, facts.system),
        *_disk(facts.disk),
        *_memory(facts.memory),
        *(_port(port) for port in facts.ports),
        _clock(facts.clock),
        *bases,
        *_tools(facts.tools, needed={Need.DEBOOTSTRAP} if standins else set()),
        *((_terraform(facts.terraform),) if facts.terraform else ()),
        _localhost(facts.localhost),
    )


def problems(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings that prevent the suite from working."""
    return tuple(finding for finding in findings if finding.level is Severity.PROBLEM)


def needs(findings: Sequence[Finding]) -> tuple[Need, ...]:
    """Return the needs of the findings, without duplicates, in the order of ``Need``."""
    wanted = {need for finding in findings for need in finding.needs}
    return tuple(need for need in Need if need in wanted)


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as ``5:28.2.2-1~debian``, ``v0.13.1+ds1``, ``20.10``.

    An epoch and everything after the first three numbers are ignored; () without any number.
    """
    match = re.match(r"(?:\d+:)?v?(\d+(?:\.\d+){0,2})", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _system(system: SystemFacts) -> Finding:
    found = f"{system.name}, {system.machine}, Python {system.python}, as {system.user}"
    if system.apt:
        return Finding("system", Severity.OK, found)
    return Finding(
        "system",
        Severity.WARNING,
        f"{found}: `inv doctor --fix` installs on Debian and Ubuntu only",
        remedy="install by hand what is missing below",
    )


def _git(version: str) -> Finding:
    if version:
        return Finding("git", Severity.OK, version)
    return Finding("git", Severity.PROBLEM, "git is not installed", needs=(Need.GIT,))


def _docker(docker: DockerFacts, system: SystemFacts) -> tuple[Finding, ...]:
    if not docker.client:
        missing = (Need.CLIENT, Need.BUILDX, Need.COMPOSE)
        if docker.daemon or docker.host:
            return (
                Finding("engine", Severity.PROBLEM, "there is no docker client", needs=missing),
            )
        return (
            Finding(
                "engine",
                Severity.PROBLEM,
                "Docker is not installed",
                needs=(Need.ENGINE, *missing, Need.START),
            ),
        )
    return (
        _engine(docker, system),
        _plugin("buildx", docker.buildx, BUILDX_MIN, Need.BUILDX),
        _plugin("compose", docker.compose, COMPOSE_MIN, Need.COMPOSE),
    )


def _engine(docker: DockerFacts, system: SystemFacts) -> Finding:
    if docker.state != "answers":
        return _no_engine(docker, system)
    found = f"Docker Engine {docker.version}, storage driver {docker.driver}"
    if version_of(docker.version) < ENGINE_MIN:
        found += f": older than {'.'.join(map(str, ENGINE_MIN))}"
        if docker.host:
            return Finding("engine", Severity.PROBLEM, found, f"update the engine of {docker.host}")
        return Finding("engine", Severity.PROBLEM, found, needs=(Need.ENGINE, Need.CLIENT))
    if docker.driver in _SLOW_DRIVERS:
        return Finding(
            "engine",
            Severity.WARNING,
            f"{found}: every layer is copied in full",
            remedy='set {"storage-driver": "overlay2"} in /etc/docker/daemon.json',
        )
    return Finding("engine", Severity.OK, found)


def _no_engine(docker: DockerFacts, system: SystemFacts) -> Finding:
    if docker.state == "forbidden":
        if system.member:
            # A login keeps the groups it began with.
            found = f"{system.user} is in the group docker, but this login is older than that"
            return Finding("engine", Severity.PROBLEM, found, "newgrp docker, or log in again")
        found = f"{system.user} may not talk to the engine: not in the group docker"
        return Finding("engine", Severity.PROBLEM, found, needs=(Need.GROUP,))
    if fault := context_fault(docker.error):
        return Finding("engine", Severity.PROBLEM, *fault)
    if docker.host:
        found = f"{docker.host} does not answer: {docker.error}"
        _, _, host = docker.host.partition("DOCKER_HOST=")
        hint = engine_remedy(docker.error, host=host, context="" if host else docker.host)
        return Finding("engine", Severity.PROBLEM, found, hint)
    if docker.daemon:
        found = f"the engine is installed but does not answer: {docker.error}"
        return Finding("engine", Severity.PROBLEM, found, needs=(Need.START,))
    found = f"there is a client ({docker.client}) but no engine: {docker.error}"
    return Finding("engine", Severity.PROBLEM, found, needs=(Need.ENGINE, Need.START))


def _plugin(name: str, version: str, oldest: tuple[int, ...], need: Need) -> Finding:
    if not version:
        return Finding(name, Severity.PROBLEM, f"docker has no {name} plugin", needs=(need,))
    if version_of(version) < oldest:
        return Finding(
            name,
            Severity.PROBLEM,
            f"{name} {version}: older than {'.'.join(map(str, oldest))}",
            needs=(need,),
        )
    return Finding(name, Severity.OK, f"{name} {version}")


def _disk(disk: Mapping[str, int]) -> tuple[Finding, ...]:
    findings = []
    for directory, free in disk.items():
        found = f"{free / GIB:.1f} GiB free for {directory}"
        level = Severity.OK
        remedy = ""
        if free < DISK_COMFORT_BYTES:
            level = Severity.WARNING if free >= DISK_NEEDED_BYTES else Severity.PROBLEM
            found += f"; one branch takes up to {DISK_NEEDED_BYTES / GIB:.0f}"
            remedy = "`docker system df` says what takes space; `docker builder prune` frees caches"
        findings.append(Finding("disk", level, found, remedy))
    return tuple(findings)


def _memory(available: int | None) -> tuple[Finding, ...]:
    if available is None:
        return ()
    found = f"{available / GIB:.1f} GiB available"
    if available >= MEMORY_COMFORT_BYTES:
        return (Finding("memory", Severity.OK, found),)
    level = Severity.WARNING if available >= MEMORY_NEEDED_BYTES else Severity.PROBLEM
    return (
        Finding(
            "memory",
            level,
            f"{found}; one branch takes about {MEMORY_NEEDED_BYTES / GIB:.0f}",
            remedy="`inv list` and `inv cleanup --branch …` for branches no longer needed",
        ),
    )


def _port(use: PortUse) -> Finding:
    check = f"port {use.port}"
    where = f"{use.address}:{use.port} ({use.service})"
    if use.holder == "ours":
        return Finding(check, Severity.OK, f"{where} is the platform's own")
    if not use.holder:
        return Finding(check, Severity.OK, f"{where} is free")
    remedy = f"stop it, or set {use.setting}: {use.free} in invoke.yaml"
    if use.service == "registry":
        remedy += f" and localhost:{use.free} in the environment's registry url"
    return Finding(check, Severity.PROBLEM, f"{where} is taken by {use.holder}", remedy)


def _clock(clock: ClockSkew) -> Finding:
    if not clock.reference:
        return Finding("clock", Severity.OK, "not compared: no other clock could be reached")
    ahead = "ahead of" if clock.skew > 0 else "behind"
    size = abs(clock.skew)
    if size <= SKEW_WARNING_SECONDS:
        return Finding("clock", Severity.OK, f"agrees with {clock.reference}")
    return Finding(
        "clock",
        Severity.PROBLEM if size > SKEW_PROBLEM_SECONDS else Severity.WARNING,
        f"{size:.0f} s {ahead} {clock.reference}: signatures and certificates will be refused",
        remedy="timedatectl set-ntp true",
    )


def _bases(facts: Facts) -> tuple[tuple[Finding, ...], bool]:
    """Return the findings about base images, and whether stand-ins will be made."""
    if facts.standins == "standins":
        return (Finding("base images", Severity.OK, "stand-ins, as images.source says"),), True
    findings = []
    standins = False
    for source in facts.sources:
        names = ", ".join(source.images)
        if source.reached:
            findings.append(Finding("base images", Severity.OK, f"{source.host} answers: {names}"))
        elif not source.missing:
            findings.append(
                Finding(
                    "base images",
                    Severity.OK,
                    f"{source.host} cannot be reached, but the engine has {names}",
                )
            )
        elif facts.standins == "official" or facts.protected:
            findings.append(
                Finding(
                    "base images",
                    Severity.PROBLEM,
                    f"{source.host} cannot be reached ({source.detail}), and stand-ins are "
                    "not allowed here",
                    remedy=f"docker pull {source.missing[0]}  # where the network allows it",
                )
            )
        else:
            standins = True
            findings.append(
                Finding(
                    "base images",
                    Severity.WARNING,
                    f"{source.host} cannot be reached ({source.detail}): stand-ins, not Mautic, "
                    f"for {', '.join(source.missing)}",
                    remedy=f"make {source.host} reachable, or `docker load` these images",
                )
            )
    return tuple(findings), standins


def _tools(tools: Mapping[Need, str], needed: set[Need]) -> tuple[Finding, ...]:
    findings = []
    for need, path in tools.items():
        if path:
            findings.append(Finding(need.value, Severity.OK, path))
        elif need in needed:
            findings.append(
                Finding(
                    need.value,
                    Severity.PROBLEM,
                    f"{need.value}, or Debian's keys, is missing: stand-ins are made with it",
                    needs=(need,),
                )
            )
        elif need is not Need.DEBOOTSTRAP:
            findings.append(
                Finding(
                    need.value,
                    Severity.WARNING,
                    f"{need.value} is missing: the tests that use it are skipped",
                    needs=(need,),
                )
            )
    return tuple(findings)


def _terraform(terraform: TerraformFacts) -> Finding:
    """Return the finding, never a problem: builds and deploys do not need Terraform."""
    if not terraform.path:
        found = "not installed"
    elif not terraform.version:
        found = f"{terraform.path} does not say its version"
    else:
        found = f"Terraform {terraform.version}"
        if version_of(terraform.version) >= TERRAFORM_MIN:
            return Finding("terraform", Severity.OK, found)
        found += f": older than {'.'.join(map(str, TERRAFORM_MIN))}"
    found += "; only `inv infra.*` needs it"
    if terraform.used:
        return Finding("terraform", Severity.WARNING, found, TERRAFORM_REMEDY)
    return Finding("terraform", Severity.OK, found)


def _localhost(addresses: tuple[str, ...]) -> Finding:
    if not addresses:
        return Finding(
            "names",
            Severity.WARNING,
            "*.localhost does not resolve here; browsers and curl know it by themselves, other "
            "programs do not",
            remedy="apt-get install libnss-myhostname",
        )
    foreign = [each for each in addresses if each not in {"::1"} and not each.startswith("127.")]
    if foreign:
        return Finding(
            "names",
            Severity.WARNING,
            f"*.localhost resolves to {', '.join(foreign)} instead of the loopback",
            remedy="tell the resolver that localhost is local (RFC 6761, section 6.3)",
        )
    return Finding("names", Severity.OK, f"*.localhost is {', '.join(addresses)}")
