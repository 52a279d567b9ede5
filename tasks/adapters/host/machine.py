"""The local machine: what is installed, free, reachable and running. Reads only."""

from __future__ import annotations

import contextlib
import email.utils
import errno
import grp
import json
import os
import platform
import pwd
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.adapters.docker.engine import Engine
from tasks.adapters.parallel import map_parallel
from tasks.adapters.process import Runner
from tasks.core.compose.stages import PROJECT
from tasks.core.doctor.checks import (
    ClockSkew,
    DockerFacts,
    Need,
    PortUse,
    SystemFacts,
    TerraformFacts,
)
from tasks.core.engine_address import LOCAL_SOCKETS
from tasks.core.errors import DeadlineError, EngineError, reason_of

ANSWER_SECONDS = 5
"""Timeout of a server's answer; a slower registry is of no use for a build."""

ENGINE_SECONDS = 30

DEBIAN_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
"""The keys that debootstrap checks Debian's signatures with; a plain Ubuntu lacks them."""

BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
"""What a bash that completes has read; no program."""

_ADMIN_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Folders of daemons and debootstrap; not on the PATH of an ordinary Debian account."""

_LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)."""


@dataclass(frozen=True)
class ServerAnswer:
    """The result of asking a web server.

    Attributes:
        reached: whether the expected kind of server answered.
        detail: its status, or why there was no answer.
        skew: seconds that this machine's clock is ahead of the server's, or None.
    """

    reached: bool
    detail: str
    skew: float | None = None


class Machine:
    """Inspects this machine.

    Args:
        runner: runs programs.
        engine: knows which container publishes a port.
        environ: DOCKER_HOST and PATH are read from it.
    """

    def __init__(
        self, runner: Runner, engine: Engine, environ: Mapping[str, str] | None = None
    ) -> None:
        self._runner = runner
        self._engine = engine
        self._environ = os.environ if environ is None else environ

    # -- system -------------------------------------------------------------------------------

    def system(self) -> SystemFacts:
        """Return the operating system, the Python and the user."""
        release: Mapping[str, str] = {}
        user = _user()
        with contextlib.suppress(OSError):  # not Linux
            release = platform.freedesktop_os_release()
        return SystemFacts(
            name=release.get("PRETTY_NAME") or f"{platform.system()} {platform.release()}",
            machine=platform.machine(),
            python=platform.python_version(),
            user=user,
            root=os.geteuid() == 0,
            sudo=bool(self.find("sudo")),
            apt=bool(self.find("apt-get")),
            codename=release.get("VERSION_CODENAME", ""),
            systemd=Path("/run/systemd/system").is_dir(),  # sd_booted(3)
            member=_is_member(user, "docker"),
        )

    def find(self, program: str) -> str:
        """Return the path of a program or daemon, empty when it is missing."""
        path = os.pathsep.join((self._environ.get("PATH", os.defpath), *_ADMIN_PATH))
        return shutil.which(program, path=path) or ""

    def tools(self, wanted: Iterable[Need]) -> dict[Need, str]:
        """Return the paths of programs, and of what bash reads; empty when missing.

        debootstrap needs Debian's keys, too.
        """
        found = {need: self.find(need.value) for need in wanted}
        if Need.BASH_COMPLETION in found and BASH_COMPLETION.exists():
            found[Need.BASH_COMPLETION] = str(BASH_COMPLETION)
        if Need.DEBOOTSTRAP in found and not DEBIAN_KEYS.exists():
            found[Need.DEBOOTSTRAP] = ""
        return found

    def git(self) -> str:
        """Return git's version, empty when it is missing."""
        if not self.find("git"):
            return ""
        return self._runner.run(["git", "--version"], deadline=ENGINE_SECONDS).stdout.strip()

    def terraform(self, *, used: bool) -> TerraformFacts:
        """Return the Terraform on PATH.

        Args:
            used: whether the environment uses a stack.
        """
        path = self.find("terraform")
        if not path:
            return TerraformFacts(used=used)
        try:
            done = self._runner.run(
                [path, "version", "-json"],
                # Otherwise it asks HashiCorp for a newer version.
                env={"CHECKPOINT_DISABLE": "1"},
                deadline=ENGINE_SECONDS,
                check=False,
            )
        except DeadlineError:
            return TerraformFacts(path, used=used)
        told: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return TerraformFacts(path, str(told.get("terraform_version", "")), used)

    # -- engine -------------------------------------------------------------------------------

    def docker(self) -> DockerFacts:
        """Return the engine as its client sees it."""
        client = self.find("docker")
        daemon = self.find("dockerd")
        if not client:
            return DockerFacts(daemon=daemon, host=self._host(""))
        try:
            done = self._runner.run(
                [client, "info", "--format", "{{json .}}"], deadline=ENGINE_SECONDS, check=False
            )
        except DeadlineError as late:
            return DockerFacts(client, daemon, self._host(""), error=late.message)
        info: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        about = info.get("ClientInfo") or {}
        plugins = {
            plugin["Name"]: str(plugin.get("Version", ""))
            for plugin in about.get("Plugins") or []
            if not plugin.get("Err")
        }
        answers = bool(info.get("ServerVersion"))
        # Clients up to 24 tell it in the JSON, later ones on stderr.
        said = " ".join([*(info.get("ServerErrors") or []), done.stderr]).strip()
        error = "" if answers else said.splitlines()[0] if said else "no answer"
        refused: Literal["forbidden", "silent"] = (
            "forbidden" if "permission denied" in error.lower() else "silent"
        )
        return DockerFacts(
            client=client,
            daemon=daemon,
            host=self._host(about.get("Context", "")),
            state="answers" if answers else refused,
            error=error,
            version=info.get("ServerVersion", ""),
            driver=info.get("Driver", ""),
            root=info.get("DockerRootDir", ""),
            buildx=plugins.get("buildx", ""),
            compose=plugins.get("compose", ""),
        )

    def _host(self, context: str) -> str:
        """Return the setting that selects another engine than the local one, or an empty string."""
        host = self._environ.get("DOCKER_HOST", "")
        if host not in LOCAL_SOCKETS:
            return f"DOCKER_HOST={host}"
        return f"the Docker context {context}" if context not in {"", "default"} else ""

    def lacks(self, images: Iterable[str]) -> tuple[str, ...]:
        """Return the images that the engine lacks; all of them if it does not answer."""
        images = tuple(images)
        try:
            return tuple(image for image in images if not self._engine.has_image(image))
        except EngineError:
            return images

    # -- disk and memory ----------------------------------------------------------------------

    def disk(self, directories: Iterable[Path]) -> dict[str, int]:
        """Return the free bytes of each file system that the directories are on.

        Directories that do not exist here (those of a remote engine) are left out.
        """
        free: dict[str, int] = {}
        devices: set[int] = set()
        for directory in directories:
            try:
                device = directory.stat().st_dev
                usage = shutil.disk_usage(directory)
            except OSError:
                continue
            if device not in devices:
                devices.add(device)
                free[str(directory)] = usage.free
        return free

    def memory(self) -> int | None:
        """Return the available memory in bytes, or None if unknown."""
        with contextlib.suppress(OSError):
            for line in Path("/proc/meminfo").read_text().splitlines():
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return None

    # -- ports --------------------------------------------------------------------------------

    def port(self, service: str, setting: str, address: str, port: int, project: str) -> PortUse:
        """Return who listens on a port of the platform.

        Args:
            service: what it is for.
            setting: the setting it comes from.
            address: the address to be published on.
            port: the port.
            project: Compose project of the platform, which may use the port itself.
        """
        holder = "" if _is_free(address, port) else self._holder(port, project)
        free = port
        if holder not in {"", "ours"}:
            free = next(p for p in range(port + 1, port + 1000) if _is_free(address, p))
        return PortUse(service, setting, address, port, holder, free)

    def _holder(self, port: int, project: str) -> str:
        with contextlib.suppress(EngineError):
            for container in self._engine.publishing(port):
                if container.labels.get(PROJECT) == project:
                    return "ours"
                return f"container {container.name}"
        return _listener(port) or "another program"

    # -- network ------------------------------------------------------------------------------

    def reach(self, hosts: Iterable[str]) -> dict[str, ServerAnswer]:
        """Return the registries' answers; they are asked in parallel.

        Args:
            hosts: registries as they stand in references, e.g. ``docker.io``.
        """
        return _all(hosts, _ask_registry)

    def clock(self, answers: Mapping[str, ServerAnswer], mirrors: Sequence[str]) -> ClockSkew:
        """Return the difference between this clock and another one.

        Args:
            answers: answers of registries.
            mirrors: URLs to ask if no answer had a date.
        """
        for name, answer in answers.items():
            if answer.skew is not None:
                return ClockSkew(name, answer.skew)
        for url, answer in _all(mirrors[:2], _ask).items():
            if answer.skew is not None:
                return ClockSkew(url, answer.skew)
        return ClockSkew()

    def localhost(self) -> tuple[str, ...]:
        """Return what a name below .localhost resolves to here."""
        with contextlib.suppress(socket.gaierror):
            found = socket.getaddrinfo("name.localhost", None, type=socket.SOCK_STREAM)
            return tuple(sorted({str(entry[4][0]) for entry in found}))
        return ()


def _user() -> str:
    """Return the user's name, or its number if it has none, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _is_member(user: str, group: str) -> bool:
    """Return True if a user is in a group, even if not yet in this login."""
    try:
        return user in grp.getgrnam(group).gr_mem
    except KeyError:
        return False


def _all(names: Iterable[str], ask: Callable[[str], ServerAnswer]) -> dict[str, ServerAnswer]:
    """Ask several servers at once."""
    names = list(dict.fromkeys(names))
    return dict(zip(names, map_parallel(ask, names), strict=True))


def _ask_registry(host: str) -> ServerAnswer:
    """Return whether a registry answers.

    A registry answers 200 or 401 (https://distribution.github.io/distribution/spec/api/), or 429
    if it is asked too often; anything else comes from a proxy or a captive portal.
    """
    name = host.partition(":")[0]
    scheme = "http" if name == "localhost" or name.startswith("127.") else "https"
    answer = _ask(f"{scheme}://{'registry-1.docker.io' if host == 'docker.io' else host}/v2/")
    if answer.reached and answer.detail not in {"HTTP 200", "HTTP 401", "HTTP 429"}:
        return ServerAnswer(False, answer.detail, answer.skew)
    return answer


def _ask(url: str) -> ServerAnswer:
    """Return a web server's answer; every status counts as one."""
    import requests

    try:
        response = requests.get(url, timeout=ANSWER_SECONDS, stream=True, allow_redirects=False)
    except requests.RequestException as error:
        return ServerAnswer(False, reason_of(error))
    with response:
        return ServerAnswer(True, f"HTTP {response.status_code}", _skew(response.headers))


def _skew(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that this clock is ahead of a response's Date.

    A cached response keeps its first Date and has an Age (RFC 9111, section 5.1).
    """
    try:
        date = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        age = float(headers.get("Age", "0"))
    except ValueError:
        return None
    return time.time() - (date.timestamp() + age)


def _is_free(address: str, port: int) -> bool:
    """Return True if a port could be published."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        # As the engine does: a connection that was just closed does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            # This user may not bind a low port, but the engine may: see whether it is taken.
            if error.errno == errno.EACCES:
                return _refuses(family, address, port)
            return error.errno != errno.EADDRINUSE
    return True


def _refuses(family: socket.AddressFamily, address: str, port: int) -> bool:
    with socket.socket(family) as probe:
        probe.settimeout(ANSWER_SECONDS)
        return probe.connect_ex((address, port)) == errno.ECONNREFUSED


def _listener(port: int) -> str:
    """Return the program that listens on a port; empty if this user may not see it."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        # Processes end while they are looked at, and those of others cannot be looked into.
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in inodes for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"{name} (process {process.name})"
    return ""
