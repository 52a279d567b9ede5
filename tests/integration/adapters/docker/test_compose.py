"""What runs of a Compose project: its words, and commands in its containers."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.adapters.docker.compose import Compose, execute, interact, logs
from tasks.adapters.docker.engine import Engine
from tasks.adapters.process import Runner
from tasks.core.compose.record import BRANCH
from tasks.core.compose.stages import PROJECT
from tasks.core.display import plain
from tasks.core.errors import CommandError, DeadlineError, EngineError
from tasks.core.redact import Redactor
from tasks.flows.compose.logs import show_logs

SERVICES = """\
services:
  one: &service
    image: {image}
    network_mode: none
    stop_grace_period: 1s
    command: [sh, -c, "printf 'first\\\\n\\\\033[31mcoloured\\\\033[0m\\\\n'; exec sleep 600"]
  two: *service
  three-that-is-silent:
    <<: *service
    command: [sleep, "600"]
"""


@pytest.fixture(scope="module")
def runner() -> Runner:
    return Runner(Redactor())


@pytest.fixture(scope="module")
def project(
    debian_image: str, runner: Runner, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A project of two services that say two lines and wait."""
    name = f"mautic-multidev-test-{secrets.token_hex(4)}"
    file = tmp_path_factory.mktemp("project") / "compose.yaml"
    file.write_text(SERVICES.format(image=debian_image))
    Compose(runner, name, file, {}).up(["one", "two", "three-that-is-silent"], lambda _: None)
    yield name
    down = ["docker", "compose", "--project-name", name, "down", "--timeout", "0"]
    subprocess.run(down, check=True, capture_output=True)


@pytest.fixture
def container(project: str) -> str:
    found = Engine().containers(f"{PROJECT}={project}")
    return next(item.id for item in found if item.service == "one")


def stamped(text: str) -> str:
    """Return a line without its time, which it must have."""
    name, bar, line = text.partition("| ")
    assert re.match(r"20\d\d-\S+Z ", line), text
    return " ".join(f"{name} {bar} {line.partition(' ')[2]}".split())


def test_the_words_of_all_services_and_of_one(project: str, runner: Runner, tmp_path: Path) -> None:
    def said(service: str, tail: int) -> list[str]:
        lines: list[str] = []
        options = {"service": service, "follow": False, "tail": tail, "since": None}
        logs(runner, project, lines.append, cwd=tmp_path, **options)  # type: ignore[arg-type]
        return sorted(stamped(plain(line)) for line in lines)

    both = ["one-1 | coloured", "one-1 | first", "two-1 | coloured", "two-1 | first"]
    assert said("", 10) == both
    assert said("two", 1) == ["two-1 | coloured"]


def write(project: str, service: str, text: str) -> None:
    """Have a service say something."""
    (container,) = (x for x in Engine().containers(f"{PROJECT}={project}") if x.service == service)
    argv = ["docker", "exec", container.id, "sh", "-c", f"echo {text} >/proc/1/fd/1"]
    subprocess.run(argv, check=True)


def test_words_of_several_services_come_by_time_and_new_ones_once(
    project: str, runner: Runner, tmp_path: Path
) -> None:
    said: list[str] = []
    news = {"two-1 | new 3", "one-1 | new 4", "three-that-is-silent-1 | new 5"}

    def follow(line: str) -> None:
        said.append(" ".join(line.split()))
        if line.endswith("written 2"):
            for service, text in (("two", "new 3"), ("one", "new 4")):
                write(project, service, text)
            # Compose makes its column of names wider from here on.
            write(project, "three-that-is-silent", "new 5")
        if news <= {*said}:
            raise RuntimeError("that is all")

    for number, service in enumerate(("one", "two", "one")):
        write(project, service, f"written {number}")
    options = {"service": "", "follow": True, "tail": 2, "since_seconds": 600}
    with pytest.raises(RuntimeError, match="that is all"):
        show_logs(runner, project, follow, cwd=tmp_path, **options)  # type: ignore[arg-type]
    came = [line for line in said if "coloured" not in line]
    assert came[:3] == ["one-1 | written 0", "two-1 | written 1", "one-1 | written 2"]
    assert sorted(came[3:]) == sorted(news)


def test_a_command_in_a_container(container: str, runner: Runner) -> None:
    words = ["sh", "-c", "echo here; echo there >&2; exit 3"]
    done = execute(runner, container, words, deadline_seconds=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "here\n", "there\n")
    with pytest.raises(CommandError, match="exit status 3"):
        execute(runner, container, words, deadline_seconds=60)
    with pytest.raises(DeadlineError):
        execute(runner, container, ["sleep", "600"], deadline_seconds=1)


def test_a_command_for_the_person_has_the_status_of_the_command(
    container: str, runner: Runner
) -> None:
    assert interact(runner, container, ["sh", "-c", "exit 7"]) == 7


@pytest.mark.parametrize(
    "said",
    [
        "failed to create network x_private: Error response from daemon: could not find an "
        "available, non-overlapping IPv4 address pool among the defaults to assign to the network",
        "failed to create network x_private: Error response from daemon: all predefined address "
        "pools have been fully subdivided",
    ],
    ids=["26", "27"],
)
def test_addresses_that_are_used_up_are_told_with_what_to_do(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said by a `docker` of the test: to use up the engine's would end all other tests."""
    script = tmp_path / "docker"
    script.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    file = tmp_path / "compose.yaml"
    file.write_text("services: {}\n")
    compose = Compose(Runner(Redactor()), "x", file, {})
    with pytest.raises(EngineError, match="no addresses left for another network") as told:
        compose.up(["one"], lambda _: None)
    assert said in (told.value.output or "")
    assert f"docker network prune --filter label!={BRANCH};" in str(told.value.hint)
    assert "default-address-pools" in str(told.value.hint)
