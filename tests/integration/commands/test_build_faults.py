"""inv build when something is wrong: each fault is told in one line, and the next run is clean."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.build_support import (
    Answer,
    Fault,
    Request,
    Site,
    forget_images,
    front_door,
)
from tests.support.suite import git

if TYPE_CHECKING:
    import docker

BUILT = {"mautic": "built", "nginx": "built"}
UNCHANGED = {"mautic": "unchanged", "nginx": "unchanged"}


# -- the machine ------------------------------------------------------------------------------


def test_an_engine_that_is_down_is_named(site: Site) -> None:
    done = site.build(env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert done.returncode == 1
    assert "error: the Docker Engine does not answer at unix:///nowhere" in done.stderr
    assert "DOCKER_HOST" in done.stderr
    assert "Traceback" not in done.stderr


def only_on_path(folder: Path, *programs: str) -> str:
    """Return a PATH on which only these programs are."""
    folder.mkdir()
    for program in programs:
        found = shutil.which(program)
        assert found, program
        (folder / program).symlink_to(found)
    return str(folder)


def test_a_machine_without_docker_is_told_so(site: Site, tmp_path: Path) -> None:
    done = site.build(env={"PATH": only_on_path(tmp_path / "bin", "git")})
    assert done.returncode == 1
    assert "error: docker is not on PATH" in done.stderr
    assert "inv doctor" in done.stderr


def test_a_docker_without_buildx_is_told_so(site: Site, tmp_path: Path) -> None:
    path = only_on_path(tmp_path / "bin", "git")
    # The plugin's folder is compiled into docker: it is asked for a plugin it cannot have.
    docker = tmp_path / "bin" / "docker"
    real = shutil.which("docker")
    docker.write_text(
        f'#!/bin/sh\n[ "$1" != buildx ] || {{ shift; set -- no-such-plugin "$@"; }}\n'
        f'exec {real} "$@"\n'
    )
    docker.chmod(0o755)
    done = site.build(env={"PATH": path})
    assert done.returncode == 1
    assert "error: docker has no buildx plugin" in done.stderr
    assert "inv doctor" in done.stderr


def test_a_full_disk_is_recognised(site: Site, debian_image: str) -> None:
    # A file system of the step's own that is full: the words are the kernel's.
    step = "RUN --mount=type=tmpfs,target=/full,size=65536 head -c 1000000 /dev/zero > /full/x"
    site.write("nginx/Dockerfile", f"ARG DEBIAN_IMAGE\nFROM $DEBIAN_IMAGE\n{step}\n")
    done = site.build(env={"DEBIAN_IMAGE": debian_image})
    assert done.returncode == 1
    assert "error: the disk of the Docker Engine is full" in done.stderr
    assert "docker system df" in done.stderr
    assert "inv doctor" in done.stderr


# -- the registry -----------------------------------------------------------------------------


def test_a_registry_that_is_down_is_named(site: Site, free_port: Callable[[], int]) -> None:
    url = f"localhost:{free_port()}/mautic"
    done = site.build(url=url)
    assert done.returncode == 1
    assert f"error: the registry {url.partition('/')[0]} cannot be reached" in done.stderr
    assert "inv doctor" in done.stderr
    assert "Traceback" not in done.stderr


def refuse_manifests(request: Request) -> Answer | None:
    """Fail half-way through a push: the layers are there, the image is not."""
    if request.method == "PUT" and "/nginx/manifests/" in request.path:
        return Answer(500, body=b"disk of the registry is on fire")
    return None


def deny(request: Request) -> Answer | None:
    """Let anybody read, and nobody write."""
    if request.method == "POST":
        body = b'{"errors": [{"code": "DENIED", "message": "read only"}]}'
        return Answer(403, {"Content-Type": "application/json"}, body)
    return None


PUSHES: dict[str, tuple[Fault, str, str]] = {
    "500": (refuse_manifests, "the push to the registry failed", "500 Internal Server Error"),
    "denied": (deny, "the registry refused the push", "denied"),
}


@pytest.mark.parametrize("fault", PUSHES)
def test_a_push_that_fails_half_way_is_an_error(
    site: Site, engine: docker.DockerClient, fault: str
) -> None:
    answer, message, output = PUSHES[fault]
    faulty = [True]
    upstream, _, path = site.url.partition("/")
    with front_door(upstream, lambda r: answer(r) if faulty else None) as (host, _):
        url = f"{host}/{path}"
        done = site.build(url=url)
        left = (site.checkout / "build.json").exists() or site.registry.digest("nginx", "cache")
        faulty.clear()
        again = site.build(url=url)
        forget_images(engine, f"{url}/")
    assert done.returncode == 1
    assert f"error: {message}" in done.stderr
    assert output in done.stderr
    assert "hint:" in done.stderr
    # Nothing half-done is found: no record, and no tag that names an image that is not whole.
    assert not left
    assert again.returncode == 0, again.stderr
    assert site.actions() == UNCHANGED


def test_a_push_that_fails_once_is_tried_again(site: Site, engine: docker.DockerClient) -> None:
    refused: list[str] = []

    def fail_once(request: Request) -> Answer | None:
        answer = refuse_manifests(request)
        if answer is None or refused:
            return None
        refused.append(request.path)
        return answer

    upstream, _, path = site.url.partition("/")
    with front_door(upstream, fail_once) as (host, _):
        done = site.build(url=f"{host}/{path}")
        forget_images(engine, f"{host}/{path}/")
    assert refused
    assert done.returncode == 0, done.stderr
    assert "the push to the registry failed; trying again" in done.stderr
    assert site.actions() == UNCHANGED


def test_a_registry_that_fails_while_tagging_is_an_error(
    site: Site, engine: docker.DockerClient
) -> None:
    def refuse_tags(request: Request) -> Answer | None:
        # docker pushes under the content key alone; every other tag is set afterwards.
        if request.method == "PUT" and "/manifests/branch." in request.path:
            return Answer(500, body=b"out of order")
        return None

    upstream, _, path = site.url.partition("/")
    with front_door(upstream, refuse_tags) as (host, _):
        done = site.build(url=f"{host}/{path}")
        forget_images(engine, f"{host}/{path}/")
    assert done.returncode == 1
    assert "answered 500 to PUT" in done.stderr
    assert "out of order" in done.stderr
    # What was built is not built again.
    assert site.actions() == {"mautic": "tagged", "nginx": "tagged"}


def test_an_unreachable_docker_hub_is_told_once(site: Site) -> None:
    hub = site.build("--dry-run", env={"DEBIAN_IMAGE": "debian:trixie-slim", "MAUTIC_IMAGE": ""})
    assert hub.returncode == 0, hub.stderr
    assert hub.stderr.count("docker.io cannot be reached") <= 1


# -- the project ------------------------------------------------------------------------------


def test_a_step_that_fails_shows_its_output(site: Site, debian_image: str) -> None:
    site.write(
        "nginx/Dockerfile",
        "ARG DEBIAN_IMAGE\nFROM $DEBIAN_IMAGE\n"
        "RUN echo 'E: Failed to fetch x: connection refused' >&2; exit 7\n",
    )
    done = site.build(env={"DEBIAN_IMAGE": debian_image})
    assert done.returncode == 1
    assert "error: the build failed" in done.stderr
    assert "E: Failed to fetch x" in done.stderr
    assert "exit code: 7" in done.stderr
    assert "  command: docker buildx bake" in done.stderr


def test_a_broken_bake_file_is_shown(site: Site) -> None:
    site.write("docker-bake.hcl", 'target "mautic" {\n')
    done = site.build()
    assert done.returncode == 1
    assert "docker-bake.hcl" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_context_that_is_missing_is_bad_input(site: Site) -> None:
    shutil.rmtree(site.checkout / "docker" / "nginx")
    done = site.build()
    assert done.returncode == 2
    assert "target nginx: there is no folder docker/nginx" in done.stderr


def test_windows_line_ends_are_bad_input(site: Site) -> None:
    """To git nothing has changed, as after a checkout under core.autocrlf: the same clean tag would
    stand for other contents.
    """
    site.write("nginx/own/start.sh", "#!/bin/sh\necho hi\n")
    site.write("nginx/own/stop.sh", "#!/bin/sh\necho bye\n")
    # Committed as it is: somebody's own.
    site.write("nginx/own/foreign.txt", "a\r\nb\r\n")
    (site.checkout / ".gitattributes").write_text("* text=auto eol=lf\n*.txt -text\n")
    site.commit()
    assert site.build("--dry-run").returncode == 0
    site.write("nginx/own/start.sh", "#!/bin/sh\r\necho hi\r\n")
    git(site.checkout, "add", "--all")
    assert git(site.checkout, "status", "--porcelain") == ""
    done = site.build("--dry-run")
    assert (done.returncode, done.stdout) == (2, "")
    assert "docker/nginx/own/start.sh has Windows line ends (CRLF) here" in done.stderr
    assert "more" not in done.stderr.splitlines()[0]
    assert "core.autocrlf false" in done.stderr
    site.write("nginx/own/stop.sh", "#!/bin/sh\r\necho bye\n")
    assert "start.sh has Windows line ends (CRLF) here" in site.build("--dry-run").stderr
    assert ", and 1 more" in site.build("--dry-run").stderr


# -- interruptions ----------------------------------------------------------------------------


def wait_for_line(stream: object, text: str, deadline_seconds: float = 60) -> None:
    deadline = time.monotonic() + deadline_seconds
    seen = []
    while time.monotonic() < deadline:
        line = stream.readline()  # type: ignore[attr-defined]
        seen.append(line)
        if text in line:
            return
        if not line:
            break
    pytest.fail(f"{text!r} never came:\n{''.join(seen)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_at_once_and_runs_again(
    site: Site, debian_image: str, number: signal.Signals
) -> None:
    # Slow only as long as the fuse is there, so that the second run need not wait as well.
    mark = secrets.token_hex(8)
    site.write(
        "nginx/Dockerfile",
        "ARG DEBIAN_IMAGE\nFROM $DEBIAN_IMAGE\n"
        "COPY own /own\n"
        f"RUN echo started-{mark}; if [ -s /own/fuse ]; then sleep 300; fi\n",
    )
    site.write("nginx/own/fuse", "burns")
    # A job's log has every line; a pipe has not.
    env = {"DEBIAN_IMAGE": debian_image, "GITLAB_CI": "true"}
    started = site.inv.start(site.checkout, "build", **site.options(env))
    assert started.stderr
    wait_for_line(started.stderr, f" started-{mark}")
    os.kill(started.pid, number)
    _, errors = started.communicate(timeout=60)
    assert started.returncode == 128 + number, errors
    assert "interrupted; the same command can be run again" in errors
    assert "Traceback" not in errors
    assert site.registry.tags("nginx") == {}
    site.write("nginx/own/fuse", "")
    # The other image may have been whole, and pushed, before the signal came.
    actions = site.actions(env=env)
    assert actions["nginx"] == "built"
    assert actions["mautic"] in {"built", "tagged"}


# -- stand-ins --------------------------------------------------------------------------------


def test_a_stand_in_that_cannot_be_made_says_what_to_install(site: Site, tmp_path: Path) -> None:
    # A release that nobody has made yet, on a machine without debootstrap (or without root).
    programs = ("git", "docker", "sh", "id", "tar")
    site.images = {"debian": "nosuch", "source": "standins"}
    env = {
        "PATH": only_on_path(tmp_path / "bin", *programs),
        "DEBIAN_IMAGE": "debian:nosuch-slim",
    }
    done = site.build(env=env)
    assert done.returncode == 1
    if os.geteuid() == 0:
        assert "error: the stand-in for debian:nosuch-slim could not be made" in done.stderr
        assert "apt-get install debootstrap" in done.stderr
    else:
        assert "error: sudo is not on PATH" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_private_image_is_never_replaced_by_a_stand_in(site: Site) -> None:
    done = site.build(env={"MAUTIC_IMAGE": "registry.invalid/our/mautic:7.2"})
    assert done.returncode == 1
    assert "error: the registry registry.invalid cannot be reached" in done.stderr
    assert "stand-in" not in done.stderr


def test_official_images_are_never_replaced_where_that_is_asked_for(site: Site) -> None:
    site.images = {"source": "official"}
    done = site.build(env={"MAUTIC_IMAGE": "mautic/mautic:0.0-no-such"})
    assert done.returncode == 1
    assert "docker.io" in done.stderr
    assert "stand-in" not in done.stderr
