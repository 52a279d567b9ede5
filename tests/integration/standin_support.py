"""What the tests of the stand-ins and of the Compose files share: images, projects, a visitor."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import requests
import yaml

from tests.support.images import PREFIX, debian, has_image, key_of, machine_lock, run, standin
from tests.support.suite import ROOT

TEST_LABEL = "io.mautic-multidev.test"
COMPOSE_FILE = ROOT / "docker" / "compose.yaml"
PLATFORM_FILE = ROOT / "docker" / "platform" / "compose.yaml"


def pair(engine: docker.DockerClient) -> tuple[str, str]:
    """Return the mautic and nginx images over the stand-in, built if the engine lacks them."""
    folder = ROOT / "docker"
    code, base, bake = standin(engine, "mautic"), debian(engine), folder / "docker-bake.hcl"
    tag = key_of(bake, folder / "mautic", folder / "nginx", more=f"{code} {base}")
    images = {name: f"{PREFIX}/app-{name}:{tag}" for name in ("mautic", "nginx")}
    with machine_lock("app"):
        if not all(has_image(engine, image) for image in images.values()):
            run(
                *("docker", "buildx", "--builder", "default", "bake", "--file", str(bake)),
                *(f"--set={name}.tags={image}" for name, image in images.items()),
                *(f"--set={name}.context={folder / name}" for name in images),
                *(f"--set={name}.context={folder / 'mautic'}" for name in ("release", "own")),
                "--load",
                env={"MAUTIC_IMAGE": code, "DEBIAN_IMAGE": base},
            )
    return images["mautic"], images["nginx"]


def proxy(engine: docker.DockerClient) -> str:
    """Return the platform's proxy image, built if the engine lacks it."""
    folder, base = ROOT / "docker" / "platform", debian(engine)
    bake = folder / "docker-bake.hcl"
    tag = key_of(bake, folder / "proxy", more=base)
    reference = f"{PREFIX}/proxy:{tag}"
    with machine_lock("proxy"):
        if not has_image(engine, reference):
            run(
                *("docker", "buildx", "--builder", "default", "bake", "--file", str(bake)),
                "--load",
                env={
                    "DEBIAN_IMAGE": base,
                    "REPOSITORY": PREFIX,
                    "TAG": tag,
                    "CONTEXT": str(folder),
                },
            )
    return reference


def until(what: str, probe: Callable[[], Any], deadline_seconds: float = 60) -> Any:
    """Return the first result of probe that counts as true; what it waits for is in the failure."""
    started = time.monotonic()
    while True:
        if result := probe():
            return result
        assert time.monotonic() - started < deadline_seconds, f"no {what} in {deadline_seconds} s"
        time.sleep(0.05)


@contextlib.contextmanager
def container(
    engine: docker.DockerClient, image: str, command: list[str] | None = None, **options: Any
) -> Iterator[Any]:
    """Run a container of the tests; it is gone afterwards, also when it could not be started."""
    made = engine.containers.create(image, command, labels={TEST_LABEL: "1"}, **options)
    try:
        made.start()
        yield made
    finally:
        made.remove(force=True, v=True)


def finish(made: Any, deadline_seconds: float = 60) -> tuple[int, str]:
    """Wait for a container to end; return its exit status and everything it said.

    On a busy machine the engine now and then loses what a short container says (its status stays
    right), so one that fails without a word is started again.
    """
    status = made.wait(timeout=deadline_seconds)["StatusCode"]
    said: str = made.logs().decode(errors="replace")
    if status and not said:
        made.start()
        status = made.wait(timeout=deadline_seconds)["StatusCode"]
        said = made.logs().decode(errors="replace")
    return status, said


def output(engine: docker.DockerClient, image: str, command: list[str], **options: Any) -> str:
    """Run a command in a container until it ends; return what it wrote to stdout."""
    with container(engine, image, command, **options) as made:
        status = made.wait()["StatusCode"]
        text: str = made.logs(stderr=False).decode()
        assert status == 0, f"{command} exited {status}:\n{made.logs().decode()}"
    return text


class Project:
    """A Compose project of the tests: everything it makes carries the tests' label.

    Args:
        name: the project's name.
        file: its compose file.
        variables: what the file's variables are; nothing else of this process's settings counts.
        scratch: a folder for the file that adds the labels.
    """

    def __init__(self, name: str, file: Path, variables: Mapping[str, str], scratch: Path) -> None:
        self.name = name
        self.variables = dict(variables)
        self._file = file
        self._labels = scratch / f"{name}.yaml"
        content = yaml.safe_load(file.read_text())
        label = {"labels": {TEST_LABEL: "1"}}
        mine = {
            kind: {key: label for key, value in content[kind].items() if not _external(value)}
            for kind in ("services", "networks", "volumes")
        }
        self._labels.write_text(yaml.safe_dump(mine))

    def compose(
        self, *args: str, stdin: str = "", check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker compose` on this project; stdout and stderr apart."""
        done = subprocess.run(
            [
                *(
                    "docker",
                    "compose",
                    "--ansi=never",
                    "--progress=plain",
                    "--env-file",
                    os.devnull,
                ),
                *("--project-name", self.name, "--file", str(self._file)),
                *("--file", str(self._labels), *args),
            ],
            env={"PATH": os.environ["PATH"], **self.variables, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        said = f"{args} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert not check or done.returncode == 0, said
        return done

    def config(self, **variables: str) -> dict[str, Any]:
        """Return the project as Compose understands it, with every profile."""
        done = self.compose("--profile", "*", "config", "--format=json", **variables)
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def down(self) -> None:
        """Remove everything of this project."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout=1")

    def container(self, engine: docker.DockerClient, service: str) -> Any:
        """Return the container that runs a service."""
        labels = [
            f"com.docker.compose.{k}={v}" for k, v in (("project", self.name), ("service", service))
        ]
        (found,) = engine.containers.list(all=True, ignore_removed=True, filters={"label": labels})
        return found


def _external(value: Mapping[str, Any] | None) -> bool:
    return bool(value and value.get("external"))


class Visitor:
    """A browser without scripts: keeps cookies, follows redirects, reaches a site by its proxy.

    Args:
        port: the proxy's port on loopback.
        host: the site's host name.
    """

    def __init__(self, port: int, host: str) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._session = requests.Session()
        # With the port, as a browser sends it.
        self._session.headers["Host"] = f"{host}:{port}"

    def get(self, path: str, **options: Any) -> requests.Response:
        """Fetch an address of the site."""
        return self._session.get(f"{self._base}{path}", timeout=60, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        """Send a form to an address of the site."""
        return self._session.post(f"{self._base}{path}", timeout=60, **options)

    def token(self, path: str) -> str:
        """Return the CSRF token of the form at an address."""
        found = re.search(r'name="_csrf_token" value="(\w+)"', self.get(path).text)
        assert found, f"{path} has no form"
        return found[1]

    def log_in(self, name: str, password: str) -> requests.Response:
        """Fill in the login form; return the page that follows."""
        form = {"_username": name, "_password": password, "_csrf_token": self.token("/s/login")}
        return self.post("/s/login_check", data=form)

    def upload(self, name: str, content: bytes) -> requests.Response:
        """Upload a file as somebody who is logged in; return the page that follows."""
        return self.post(
            "/s/files",
            data={"_csrf_token": self.token("/s/files")},
            files={"file": (name, content)},
        )

    def counters(self) -> dict[str, int]:
        """Return the counters in the site's database."""
        result: dict[str, int] = self.get("/s/counter").json()["counters"]
        return result
