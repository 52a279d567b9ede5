"""The machine for real: its ports, servers that tell the time, apt, and an engine of the test's."""

from __future__ import annotations

import email.utils
import http.server
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.adapters.docker.engine import Engine
from tasks.adapters.host.apt import AptTool
from tasks.adapters.host.docker_service import DockerService
from tasks.adapters.host.machine import DEBIAN_KEYS, Machine
from tasks.adapters.process import Runner
from tasks.core.doctor.checks import ClockSkew, Need, TerraformFacts
from tasks.core.doctor.packages import FixCommand, install_commands
from tasks.core.errors import EngineError
from tasks.core.redact import Redactor
from tests.conftest import missing


@pytest.fixture
def runner() -> Runner:
    return Runner(Redactor())


@pytest.fixture
def machine(runner: Runner) -> Machine:
    return Machine(runner, Engine())


class Server(http.server.BaseHTTPRequestHandler):
    """Answers with a status and headers that its path names: /STATUS/SECONDS_AHEAD/AGE."""

    def do_GET(self) -> None:
        _, status, ahead, age, *_ = f"{self.path}///".split("/")
        self.send_response_only(int(status) if status.isdigit() else self.server.status)
        date = time.time() + float(ahead or 0) - float(age or 0)
        self.send_header("Date", email.utils.formatdate(date, usegmt=True))
        if age:
            self.send_header("Age", age)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as served:
        served.status = 401
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def test_what_a_machine_always_has(machine: Machine, tmp_path: Path) -> None:
    system = machine.system()
    assert system.root == (os.geteuid() == 0)
    assert system.user
    assert machine.git().startswith("git version ")
    assert machine.memory() > 0
    # Both are on the same file system, and what is not there is left out.
    free = machine.disk((tmp_path, tmp_path.parent, tmp_path / "absent"))
    assert list(free) == [str(tmp_path)]
    assert free[str(tmp_path)] > 0


def test_daemons_are_found_where_an_ordinary_path_does_not_look(runner: Runner) -> None:
    bare = Machine(runner, Engine(), environ={"PATH": "/nonexistent"})
    assert bare.find("ldconfig").endswith("sbin/ldconfig")
    assert bare.find("ls") == ""
    assert bare.docker().client == ""
    assert bare.terraform(used=True) == TerraformFacts(used=True)


def test_the_terraform_of_this_machine(machine: Machine) -> None:
    path = shutil.which("terraform")
    if path is None:
        missing("terraform is not on PATH")
    found = machine.terraform(used=False)
    assert (found.path, found.used) == (path, False)
    assert re.fullmatch(r"\d+\.\d+\.\d+(-\w+)?", found.version)


def test_a_terraform_that_does_not_work_has_no_version(runner: Runner, tmp_path: Path) -> None:
    program = tmp_path / "terraform"
    program.write_text("#!/bin/sh\necho 'no version is set' >&2; exit 1\n")
    program.chmod(0o755)
    own = Machine(runner, Engine(), environ={"PATH": str(tmp_path)})
    assert own.terraform(used=True) == TerraformFacts(str(program), "", used=True)


def test_a_free_port_and_one_that_a_program_holds(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        taken = machine.port("proxy", "platform.http_port", "127.0.0.1", port, "nobody")
        assert f"(process {os.getpid()})" in taken.holder
        assert taken.free > port
    free = machine.port("proxy", "platform.http_port", "127.0.0.1", port, "nobody")
    assert (free.holder, free.free) == ("", port)


def test_a_port_that_a_container_holds(machine: Machine, registry: str) -> None:
    port = int(registry.partition(":")[2])
    use = machine.port("registry", "platform.registry_port", "127.0.0.1", port, "nobody")
    assert use.holder.startswith("container mautic-multidev-test-registry-")


@pytest.mark.parametrize(
    ("status", "reached"), [(200, True), (401, True), (429, True), (403, False), (503, False)]
)
def test_a_registry_is_what_answers_like_one(
    machine: Machine, server: http.server.ThreadingHTTPServer, status: int, reached: bool
) -> None:
    server.status = status
    host = f"127.0.0.1:{server.server_port}"
    answer = machine.reach([host])[host]
    assert (answer.reached, answer.detail) == (reached, f"HTTP {status}")


def test_where_nothing_answers_the_reason_is_the_systems(
    machine: Machine, free_port: Callable[[], int]
) -> None:
    host = f"localhost:{free_port()}"
    answer = machine.reach([host])[host]
    assert (answer.reached, answer.detail) == (False, "Connection refused")


@pytest.mark.parametrize(
    ("path", "skew"),
    [
        ("200/0", 0),
        ("404/100", -100),
        ("200/-400", 400),
        # A cache's answer is as old as it says.
        ("200/0/3600", 0),
    ],
)
def test_the_clock_is_compared_with_any_server(
    machine: Machine, server: http.server.ThreadingHTTPServer, path: str, skew: float
) -> None:
    url = f"http://127.0.0.1:{server.server_port}/{path}"
    clock = machine.clock({}, [url])
    assert clock.reference == url
    assert clock.skew == pytest.approx(skew, abs=10)


def test_without_any_server_there_is_no_clock(
    machine: Machine, free_port: Callable[[], int]
) -> None:
    assert machine.clock({}, [f"http://127.0.0.1:{free_port()}/"]) == ClockSkew()


# -- apt ------------------------------------------------------------------------------------------


@pytest.fixture
def bookworm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt of the test's own, with nothing installed: Debian 12 and a foreign source.

    Returns the directory in the place of /etc/apt.
    """
    if not shutil.which("apt-get") or not DEBIAN_KEYS.exists():
        missing("no apt with Debian's keys")
    etc = tmp_path / "etc"
    for folder in ("etc/sources.list.d", "etc/preferences.d", "etc/apt.conf.d", "state", "cache"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "status").touch()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "Packages").touch()
    # An index may be empty; what counts is that another one's Release speaks of bookworm, too.
    sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (foreign / "Release").write_text(
        f"Origin: Example\nCodename: bookworm\nSHA256:\n {sha256} 0 Packages\n"
    )
    (etc / "sources.list").write_text(
        f"deb [signed-by={DEBIAN_KEYS}] http://deb.debian.org/debian bookworm main\n"
        f"deb [trusted=yes] file://{foreign} ./\n"
    )
    (etc / "sources.list.d" / "security.sources").write_text(
        "Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\n"
        f"Components: main\nSigned-By: {DEBIAN_KEYS}\n"
    )
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc "{etc}"; Dir::Etc::parts "{etc}/apt.conf.d"; Dir::State "{tmp_path}/state";\n'
        f'Dir::State::status "{tmp_path}/status"; Dir::Cache "{tmp_path}/cache";\n'
        'APT::Architecture "amd64"; APT::Architectures {"amd64";}; APT::Sandbox::User "root";\n'
        'Acquire::Languages "none"; Debug::NoLocking "true";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    return etc


def test_a_source_of_apt_in_another_encoding_is_read(runner: Runner, bookworm: Path) -> None:
    source = bookworm / "sources.list.d" / "older.list"
    source.write_bytes(b"# Universit\xe4t\ndeb http://mirror.example.org/debian bookworm main\n")
    assert "http://mirror.example.org/debian" in AptTool(runner).mirrors()


def test_docker_of_trixie_installs_on_bookworm_and_brings_nothing_else(
    runner: Runner, bookworm: Path
) -> None:
    """What is planned is what apt accepts: first the lists, then sources, pins and packages."""
    apt = AptTool(runner)
    assert apt.mirrors() == (
        "http://deb.debian.org/debian",
        "http://deb.debian.org/debian-security",
    )
    wanted = (Need.ENGINE, Need.CLIENT, Need.BUILDX, Need.COMPOSE, Need.DEBOOTSTRAP)
    first = install_commands(wanted, apt.knowledge(), "bookworm")
    assert [command.argv[:2] for command in first or ()] == [("apt-get", "update")]
    run(runner, first[0])

    known = apt.knowledge()
    assert known.candidates["docker.io"].version.startswith("20.10.")
    pin, sources, update, install = install_commands(wanted, known, "bookworm")
    assert "foreign" not in sources.stdin
    for command in (pin, sources):
        target = Path(command.argv[1])
        assert target.is_relative_to("/etc/apt")
        (bookworm / target.relative_to("/etc/apt")).write_text(command.stdin)
    run(runner, update)

    words = list(install.argv)
    words.insert(words.index("install") + 1, "--simulate")
    words.remove("-qq")
    simulated = runner.run(words, deadline=300).stdout
    taken = {line.split()[1]: line for line in simulated.splitlines() if line.startswith("Inst ")}
    # Some packages are the same in both releases; apt then names both.
    from_trixie = {
        name for name, line in taken.items() if not re.search(r"Debian(-Security)?:12", line)
    }
    assert from_trixie == {
        *("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd"),
    }
    assert {"runc", "iptables", "debootstrap", "ca-certificates"} <= set(taken)
    # Now that they can be had, nothing has to be added a second time.
    again = install_commands(wanted, apt.knowledge(), "bookworm")
    assert [command.argv[0] for command in again or ()] == ["apt-get", "env"]


def run(runner: Runner, command: FixCommand) -> None:
    """Run a command of a plan."""
    runner.run(command.argv, stdin=command.stdin, deadline=300)


# -- the engine as a service ----------------------------------------------------------------------


@pytest.fixture
def private(runner: Runner) -> Iterator[tuple[DockerService, Machine, str]]:
    """An engine of the test's own: nothing of it meets the machine's."""
    # Not tmp_path: the path of a Unix socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="engine-", ignore_cleanup_errors=True) as folder:
        yield from _private(runner, Path(folder))


def _private(runner: Runner, folder: Path) -> Iterator[tuple[DockerService, Machine, str]]:
    daemon = Machine(runner, Engine()).find("dockerd")
    if os.geteuid() != 0 or not daemon or not shutil.which("start-stop-daemon"):
        missing("no root, no dockerd or no start-stop-daemon")
    socket_path = f"unix://{folder}/docker.sock"
    service = DockerService(
        runner,
        pidfile=folder / "ours.pid",
        log=folder / "dockerd.log",
        options=(
            *("--host", socket_path, "--data-root", f"{folder}/data"),
            *("--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/dockerd.pid"),
            *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
        ),
    )
    client = Machine(runner, Engine(), environ={**os.environ, "DOCKER_HOST": socket_path})
    yield service, client, daemon
    stop = service.stop(daemon)
    if stop:
        runner.run(stop.argv, deadline=90)


def start(runner: Runner, service: DockerService, daemon: str) -> None:
    """Start an engine in network and mount namespaces of its own.

    Told to have no bridge, dockerd removes docker0, which would be the machine's own engine's; and
    one that ends early leaves its data directory mounted.
    """
    command = service.start(daemon, systemd=False)
    runner.run(["unshare", "--net", "--mount", *command.argv], deadline=60)


def test_an_engine_is_started_known_again_and_stopped(
    runner: Runner, private: tuple[DockerService, Machine, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client, daemon = private
    monkeypatch.setenv("DOCKER_HOST", f"unix://{service.pidfile.parent}/docker.sock")

    def answers() -> bool:
        return client.docker().state == "answers"

    assert service.stop(daemon) is None
    assert not answers()
    start(runner, service, daemon)
    service.wait(answers, ours=True)
    pid = int(service.pidfile.read_text())
    assert Path("/proc", str(pid), "exe").resolve() == Path(daemon).resolve()
    assert client.docker().root == f"{service.pidfile.parent}/data"

    stop = service.stop(daemon)
    assert stop is not None
    run(runner, stop)
    assert client.docker().state == "silent"
    assert service.stop(daemon) is None


def test_an_engine_that_ends_at_once_is_quoted(
    runner: Runner, private: tuple[DockerService, Machine, str]
) -> None:
    service, _, daemon = private
    broken = DockerService(
        runner, service.pidfile, service.log, (*service.options, "--group", "absent")
    )
    start(runner, broken, daemon)
    with pytest.raises(EngineError) as caught:
        broken.wait(lambda: False, ours=True)
    assert "absent" in "\n".join(caught.value.lines())


def test_systemd_starts_the_engine_where_it_runs() -> None:
    command = DockerService(Runner(Redactor())).start("/usr/sbin/dockerd", systemd=True)
    assert command.argv == ("systemctl", "enable", "--now", "docker")
