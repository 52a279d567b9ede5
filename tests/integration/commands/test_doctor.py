"""`inv doctor` on this machine: what it looks at, its exit codes, and that it only looks."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.support.suite import Inv

CHECKS = {"system", "git", "engine", "buildx", "compose", "disk", "memory", "clock", "base images"}

Doctor = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def doctor(inv: Inv, checkout: Path, project: str, free_port: Callable[[], int]) -> Doctor:
    """Runs `inv doctor --format json`; returns exit code, findings by check, and stderr."""

    def run(
        *args: str, env: dict[str, str] | None = None, images: str = "standins", **platform: int
    ) -> tuple[int, dict[str, Any], str]:
        ports = {name: free_port() for name in ("http_port", "registry_port", "mail_port")}
        settings = {
            "project": project,
            "images": {"source": images},
            "platform": {**ports, **platform},
        }
        done = inv(checkout, "doctor", "--format", "json", *args, settings=settings, env=env)
        found = json.loads(done.stdout)
        assert found["ok"] == (done.returncode == 0)
        return done.returncode, {one["check"]: one for one in found["findings"]}, done.stderr

    return run


def test_a_machine_that_runs_these_tests_is_fit(
    engine: docker.DockerClient, doctor: Doctor
) -> None:
    code, found, _ = doctor()
    assert set(found) >= CHECKS
    problems = {check for check, one in found.items() if one["level"] == "problem"}
    # Without debootstrap this machine cannot make stand-ins: they may come from elsewhere.
    assert problems <= {"debootstrap"}
    assert code == (1 if problems else 0)
    version = engine.version()["Version"]
    assert version in found["engine"]["found"]
    assert sum(check.startswith("port ") for check in found) == 3


def test_official_images_that_cannot_be_had_are_a_problem(
    engine: docker.DockerClient, doctor: Doctor
) -> None:
    """Over a proxy that is not there, no registry can be reached."""
    away = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    _, found, _ = doctor(images="auto", env=away)
    assert found["base images"]["level"] in {"ok", "warning"}
    assert "docker.io cannot be reached" in found["base images"]["found"]
    code, found, said = doctor(images="official", env=away)
    if found["base images"]["level"] != "ok":  # unless the engine has every one of them
        assert (code, found["base images"]["level"]) == (1, "problem")
        assert found["base images"]["remedy"].startswith("docker pull ")
        assert "base images" in said


def test_a_taken_port_is_a_problem_that_names_its_holder(
    engine: docker.DockerClient, doctor: Doctor
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        code, found, said = doctor(http_port=port)
    assert code == 1
    taken = found[f"port {port}"]
    assert taken["level"] == "problem"
    assert f"(process {os.getpid()})" in taken["found"]
    assert "platform.http_port: " in taken["remedy"]
    assert f"port {port}" in said


def test_an_engine_that_is_down_is_one_finding_and_not_a_traceback(doctor: Doctor) -> None:
    code, found, said = doctor(env={"DOCKER_HOST": "unix:///nonexistent.sock"})
    assert code == 1
    assert found["engine"]["level"] == "problem"
    assert "DOCKER_HOST=unix:///nonexistent.sock" in found["engine"]["found"]
    assert "unset DOCKER_HOST" in found["engine"]["remedy"]
    assert "Traceback" not in said


def test_a_fix_on_trial_runs_nothing(
    inv: Inv, checkout: Path, project: str, engine: docker.DockerClient
) -> None:
    for args in (("doctor", "--fix", "--dry-run"), ("--dry", "doctor", "--fix")):
        done = inv(checkout, *args, settings={"project": project})
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("fix this machine:")


def test_an_engine_that_is_not_ours_is_never_stopped(
    inv: Inv, checkout: Path, engine: docker.DockerClient
) -> None:
    if Path("/run/mautic-multidev-dockerd.pid").exists():
        pytest.skip("the engine of this machine was started by `inv doctor --fix`")
    done = inv(checkout, "doctor", "--stop-engine")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no engine was started" in done.stderr
    assert engine.ping()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--env", "nowhere"), "there is no environment 'nowhere'"),
        (("--format", "xml"), "must be text or json"),
    ],
)
def test_bad_input(inv: Inv, checkout: Path, args: tuple[str, ...], words: str) -> None:
    done = inv(checkout, "doctor", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_text_has_a_line_per_finding_with_its_remedy_below(
    inv: Inv, checkout: Path, project: str
) -> None:
    env = {"DOCKER_HOST": "unix:///nonexistent.sock"}
    done = inv(checkout, "doctor", settings={"project": project}, env=env)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("problem  engine "))
    assert lines[at + 1].strip().startswith("-> unset DOCKER_HOST")
    assert "error: " in done.stderr
