"""Decides which packages to install, and from which of the machine's apt sources.

Debian 12's own Docker is too old and has no buildx. Debian 13's packages run there, so they are
installed from the mirror that the machine uses already, pinned so that nothing else is upgraded.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.core.doctor.checks import COMPOSE_MIN, ENGINE_MIN, Need, version_of

DONOR = {"bookworm": "trixie"}
"""Debian releases whose Docker is too old, and the release whose packages are used instead."""

SOURCES = "/etc/apt/sources.list.d/mautic-multidev-docker.sources"
PREFERENCES = "/etc/apt/preferences.d/mautic-multidev-docker"

_DOCKER = {
    Need.ENGINE: "docker.io",
    Need.CLIENT: "docker-cli",
    Need.BUILDX: "docker-buildx",
    Need.COMPOSE: "docker-compose",
}
_DOCKER_INC = {
    Need.ENGINE: "docker-ce",
    Need.CLIENT: "docker-ce-cli",
    Need.BUILDX: "docker-buildx-plugin",
    Need.COMPOSE: "docker-compose-plugin",
}
_PINNED = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd")
"""Packages that run with the older C library. Debian 13's runc does not; Debian 12's is fine."""

_BESIDE_ENGINE = ("apparmor", "ca-certificates")
"""Needed for containers if the kernel has AppArmor, and for pulls over TLS."""

_TOOLS = {
    Need.GIT: ("git",),
    # Ubuntu's debootstrap comes without Debian's keys.
    Need.DEBOOTSTRAP: ("debootstrap", "debian-archive-keyring"),
    Need.CHROMIUM: ("chromium",),
    Need.CHROMEDRIVER: ("chromium-driver",),
    Need.RSYNC: ("rsync",),
    Need.BASH_COMPLETION: ("bash-completion",),
    Need.ZSH: ("zsh",),
    Need.FISH: ("fish",),
}

ASKED = tuple(sorted({*_DOCKER.values(), *_DOCKER_INC.values(), "docker-compose-v2"}))
"""The packages whose versions decide where Docker comes from."""

GUIDE = "https://docs.docker.com/engine/install/"


@dataclass(frozen=True)
class FixCommand:
    """A command of a fix, as it is shown to the user and then run.

    Attributes:
        stdin: its input, e.g. the content of a file for tee.
        root: whether it needs root.
        vital: whether its failure ends the fix.
    """

    argv: tuple[str, ...]
    stdin: str = ""
    root: bool = True
    vital: bool = True

    def shown(self, *, sudo: bool) -> str:
        """Return the command as typed in a shell, with sudo if needed."""
        line = shlex.join(("sudo", *self.argv) if sudo and self.root else self.argv)
        return f"{line} <<'EOF'\n{self.stdin}EOF" if self.stdin else line


@dataclass(frozen=True)
class Candidate:
    """A package's versions from ``apt-cache policy``.

    Attributes:
        version: the version that apt would install; empty if no source has it.
        installed: the installed version, or empty.
    """

    version: str
    installed: str


@dataclass(frozen=True)
class Index:
    """One index of the machine's apt sources, from ``apt-get indextargets``.

    Attributes:
        uri: the repository, with its final slash.
        suite: the suite as the source names it.
        codename: the release's own name; empty before the first ``apt-get update``.
        origin: who made it, e.g. ``Debian``; empty before the first ``apt-get update``.
    """

    uri: str
    suite: str
    codename: str
    origin: str


@dataclass(frozen=True)
class Apt:
    """The state of apt.

    Attributes:
        candidates: the packages of ``ASKED`` by name.
        files: the texts of the machine's sources by file name.
    """

    candidates: Mapping[str, Candidate]
    indexes: tuple[Index, ...]
    files: Mapping[str, str]

    @property
    def updated(self) -> bool:
        """Whether ``apt-get update`` has been run: before, apt knows no package."""
        return any(index.origin for index in self.indexes)


def read_policy(text: str) -> dict[str, Candidate]:
    """Return the packages in the output of ``apt-cache policy NAME…`` (with LC_ALL=C)."""
    found = {}
    for match in re.finditer(r"^(\S+):\n  Installed: (.+)\n  Candidate: (.+)$", text, re.MULTILINE):
        name, installed, version = ("" if value == "(none)" else value for value in match.groups())
        found[name] = Candidate(version=version, installed=installed)
    return found


def read_indexes(text: str) -> tuple[Index, ...]:
    """Return the indexes in the output of ``apt-get indextargets``."""
    found = []
    for stanza in stanzas(text):
        index = Index(
            uri=stanza.get("repo-uri", ("", ""))[1],
            suite=stanza.get("release", ("", ""))[1],
            codename=stanza.get("codename", ("", ""))[1],
            origin=stanza.get("origin", ("", ""))[1],
        )
        if index not in found:
            found.append(index)
    return tuple(found)


Stanza = dict[str, tuple[str, str]]
"""A deb822 stanza: the field's name in lower case to its name as written and its value."""


def stanzas(text: str) -> list[Stanza]:
    """Return the stanzas of a deb822 text (deb822(5)); comment lines are dropped."""
    found: list[Stanza] = []
    current: Stanza = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if current:
                found.append(current)
            current, last = {}, ""
        elif line[0] in " \t" and last:
            name, value = current[last]
            current[last] = (name, f"{value}\n{line}")
        elif ":" in line:
            name, value = line.split(":", 1)
            last = name.strip().lower()
            current[last] = (name.strip(), value.strip())
    return found


_ONE_LINE = re.compile(r"^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#\n]*)")
_OPTION = re.compile(r"([A-Za-z-]+?)([+-]?)=(\S+)")
_OPTION_FIELDS = {"arch": "Architectures", "lang": "Languages", "target": "Targets"}


def one_line(text: str) -> list[Stanza]:
    """Return the entries of a one-line source file as deb822 stanzas (sources.list(5))."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line)
        if not match:
            continue
        kind, options, uri, suite, components = match.groups()
        stanza: Stanza = {
            "types": ("Types", kind),
            "uris": ("URIs", uri),
            "suites": ("Suites", suite),
            "components": ("Components", components.strip()),
        }
        for name, change, value in _OPTION.findall(options or ""):
            written = _OPTION_FIELDS.get(name.lower(), name.title())
            written += {"+": "-Add", "-": "-Remove", "": ""}[change]
            stanza[written.lower()] = (written, value.replace(",", " "))
        found.append(stanza)
    return found


def mirrors(files: Mapping[str, str]) -> tuple[str, ...]:
    """Return the web addresses in source files, each once.

    Args:
        files: the texts by file name.
    """
    found = [
        uri
        for name, text in files.items()
        for stanza in _entries(name, text)
        for uri in stanza.get("uris", ("", ""))[1].split()
        if uri.startswith(("http://", "https://"))
    ]
    return tuple(dict.fromkeys(found))


def _entries(name: str, text: str) -> list[Stanza]:
    """Return the entries of a source file; its name determines the format."""
    return stanzas(text) if name.endswith(".sources") else one_line(text)


def newer_sources(apt: Apt, old: str, new: str) -> str:
    """Return sources for a newer Debian release, made from the machine's own for the older one.

    Mirrors, keys and options stay as the machine has them. Entries that are not Debian's own (by
    the Origin of their Release file) are left out, and so are source packages, backports and
    components other than main.

    Args:
        apt: what apt knows.
        old: codename of the release that the machine runs.
        new: codename of the release whose packages are wanted.

    Returns:
        A deb822 text; empty when no entry is Debian's own.
    """
    suites = {
        (index.uri.rstrip("/"), index.suite): index.codename.replace(old, new, 1)
        for index in apt.indexes
        if index.origin == "Debian" and index.codename in {old, f"{old}-updates", f"{old}-security"}
    }
    made: list[str] = []
    for name, text in apt.files.items():
        for stanza in _entries(name, text):
            made += _renewed(stanza, suites)
    return "\n".join(dict.fromkeys(made))


def _renewed(stanza: Stanza, suites: Mapping[tuple[str, str], str]) -> list[str]:
    """Return a source's stanza for the newer release; nothing when it is not Debian's own."""

    def words(name: str) -> list[str]:
        return stanza.get(name, ("", ""))[1].split()

    if "deb" not in words("types") or words("enabled") in (["no"], ["false"]):
        return []
    if "main" not in words("components"):
        return []
    uris = [uri for uri in words("uris") if any(uri.rstrip("/") == known for known, _ in suites)]
    renewed = dict.fromkeys(
        suites[uri.rstrip("/"), suite]
        for uri in uris
        for suite in words("suites")
        if (uri.rstrip("/"), suite) in suites
    )
    if not renewed:
        return []
    fields = {
        **{name: value for name, value in stanza.items() if name != "enabled"},
        "types": ("Types", "deb"),
        "uris": ("URIs", " ".join(uris)),
        "suites": ("Suites", " ".join(renewed)),
        "components": ("Components", "main"),
    }
    return [
        "".join(f"{name}: {value}\n".replace(": \n", ":\n", 1) for name, value in fields.values())
    ]


def preferences(new: str) -> str:
    """Return apt preferences that take Docker, and nothing else, from the newer release."""
    return (
        f"Package: *\nPin: release o=Debian,n={new}*\nPin-Priority: 50\n\n"
        f"Package: {' '.join(_PINNED)}\nPin: release o=Debian,n={new}*\nPin-Priority: 500\n"
    )


def install_commands(
    wanted: Iterable[Need], apt: Apt, codename: str
) -> tuple[FixCommand, ...] | None:
    """Return the commands that install the needs on Debian or Ubuntu.

    Args:
        wanted: the needs; START and GROUP are not packages and are ignored.
        apt: the state of apt.
        codename: the machine's release, from os-release.

    Returns:
        The commands in order; None if no source of the machine has a usable Docker, and there is no
        newer release to take it from.
    """
    needs = [need for need in wanted if need in _DOCKER or need in _TOOLS]
    if not needs:
        return ()
    # An unreachable source must not prevent the use of the others. If a package is missing
    # afterwards, the installation fails and names it.
    update = FixCommand(("apt-get", "update", "-qq"), vital=False)
    if not apt.updated:
        # The packages are only known afterwards; then the plan is made again.
        return (update,)
    tools = [package for need in needs if need in _TOOLS for package in _TOOLS[need]]
    docker = [need for need in needs if need in _DOCKER]
    commands: list[FixCommand] = [update]
    packages: list[str] = []
    if docker:
        names = docker_packages(apt.candidates)
        if names is None:
            release = _release(apt, codename)
            donated = _donated(apt, release)
            if donated is None:
                return None
            commands = [*donated, update]
            names = dict(_DOCKER)
        packages = list(dict.fromkeys(names[need] for need in docker))
        if Need.ENGINE in docker:
            packages += _BESIDE_ENGINE
    return (*commands, install([*packages, *tools]))


def install(packages: Sequence[str]) -> FixCommand:
    """Return the command that installs packages non-interactively.

    It waits for another apt, such as unattended-upgrades on a machine that has just started.
    """
    return FixCommand(
        (
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            *("apt-get", "install", "--yes", "-qq", "--no-install-recommends"),
            *("-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"),
            *packages,
        )
    )


def docker_packages(candidates: Mapping[str, Candidate]) -> dict[Need, str] | None:
    """Return the Docker packages in the machine's own sources, or None if none are usable.

    Docker Inc.'s packages and the distribution's conflict: installed ones are preferred, then
    Docker's own source if it has been added.
    """

    def offered(name: str) -> str:
        return candidates[name].version if name in candidates else ""

    def installed(name: str) -> bool:
        return name in candidates and bool(candidates[name].installed)

    if installed("docker-ce") or (offered("docker-ce") and not installed("docker.io")):
        return dict(_DOCKER_INC)
    compose = next(
        (
            name
            for name in ("docker-compose-v2", "docker-compose")
            if version_of(offered(name)) >= COMPOSE_MIN
        ),
        "",
    )
    if version_of(offered("docker.io")) < ENGINE_MIN or not offered("docker-buildx") or not compose:
        return None
    # Up to Debian 12 and in Ubuntu the client is part of docker.io.
    client = "docker-cli" if offered("docker-cli") else "docker.io"
    return {**_DOCKER, Need.CLIENT: client, Need.COMPOSE: compose}


def manual_install_hint(wanted: Iterable[Need]) -> str:
    """Return what to install by hand without apt; empty if nothing is needed."""
    wanted = tuple(wanted)
    docker = ", ".join(need for need in wanted if need in _DOCKER)
    tools = ", ".join(need for need in wanted if need in _TOOLS)
    parts = (
        f"Docker's {docker} ({GUIDE})" if docker else "",
        f"{tools} by the system's package manager" if tools else "",
    )
    return f"# install {' and '.join(filter(None, parts))}" if any(parts) else ""


def _release(apt: Apt, codename: str) -> str:
    """Return the Debian release that the machine's sources are for.

    os-release comes from the package base-files, which may be from another release on a mixed
    machine, so the sources are checked first.
    """
    known = {index.codename for index in apt.indexes if index.origin == "Debian"}
    return next((old for old in DONOR if old in known), codename)


def _donated(apt: Apt, release: str) -> tuple[FixCommand, ...] | None:
    """Return the commands that make a newer release's Docker installable, or None."""
    if release not in DONOR:
        return None
    new = DONOR[release]
    commands = []
    if not any(index.origin == "Debian" and index.codename == new for index in apt.indexes):
        sources = newer_sources(apt, release, new)
        if not sources:
            return None
        commands.append(FixCommand(("tee", SOURCES), stdin=sources))
    # The pin comes first, so that no upgrade sees the newer release unpinned.
    return (FixCommand(("tee", PREFERENCES), stdin=preferences(new)), *commands)
