"""A whole local environment of the tests' own: checkout, settings, platform, images."""

from __future__ import annotations

import contextlib
import io
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import docker
import requests
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container

from tasks.core import door
from tests.support.suite import Inv, git

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
SERVICES = {"database", "web", "fpm", "worker", "cron"}

LINES_MAX = 15
"""What a daily command prints into a pipe at most."""


@dataclass
class World:
    """What one module's tests share.

    Attributes:
        engine: the Docker Engine.
        inv: runs the suite.
        checkout: a checkout of the project.
        project: prefix of every name.
        http_port: port of the proxy.
        registry_port: port of the registry.
        said: stdout and stderr of every run so far.
        domain: what a branch's host is below.
    """

    engine: docker.DockerClient
    inv: Inv
    checkout: Path
    project: str
    http_port: int
    registry_port: int
    said: list[str] = field(default_factory=list)
    domain: str = "localhost"

    def settings(self, **platform: Any) -> dict[str, Any]:
        """Return the settings of a run; arguments override those of the platform."""
        ports = {"http_port": self.http_port, "registry_port": self.registry_port}
        return {
            "project": self.project,
            "images": {"source": "standins"},
            "platform": {**ports, **platform},
            "environments": {
                "local": {
                    "registry": {"kind": "oci", "url": self.registry},
                    "patience": {"stability_seconds": 1},
                }
            },
        }

    @property
    def registry(self) -> str:
        """URL of the registry that `inv build` pushes to."""
        return f"localhost:{self.registry_port}/mautic"

    def run(
        self,
        *args: str,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> CompletedProcess[str]:
        """Run `inv` to its end."""
        done = self.inv(
            cwd or self.checkout, *args, settings=settings or self.settings(), env=env, timeout=900
        )
        self.said += [done.stdout, done.stderr]
        return done

    def ok(self, *args: str) -> CompletedProcess[str]:
        """Run `inv` to its end; it must succeed."""
        done = self.run(*args)
        assert done.returncode == 0, f"inv {' '.join(args)}: {done.returncode}\n{done.stderr}"
        return done

    def start(self, *args: str) -> Popen[str]:
        """Start `inv`."""
        return self.inv.start(self.checkout, *args, settings=self.settings())

    def tag(self) -> str:
        """Return the tag of what is checked out."""
        return git(self.checkout, "rev-parse", "HEAD")[:8]

    def namespace(self, slug: str) -> str:
        """Return the Compose project of a slug."""
        return f"{self.project}-{slug}"

    def containers(self, slug: str) -> dict[str, Container]:
        """Return the services' containers of a slug, by service."""
        return {item.labels[SERVICE]: item for item in self.all_containers(slug)}

    def all_containers(self, slug: str) -> list[Container]:
        """Return the containers of a slug, those that are no service's too."""
        label = f"{PROJECT}={self.namespace(slug)}"
        found: list[Container] = self.engine.containers.list(
            all=True, ignore_removed=True, filters={"label": label}
        )
        return found

    def inside(self, slug: str, command: str, service: str = "fpm") -> str:
        """Run a command in a service's container, which must end well; return its stdout.

        In place of `inv shell`, a process each, for what a test prepares and looks at.
        """
        container = self.containers(slug)[service]
        code, (out, err) = container.exec_run(["sh", "-c", command], demux=True)
        assert code == 0, (command, out, err)
        return (out or b"").decode()

    def objects(self, slug: str) -> list[str]:
        """Return everything in the engine that carries a slug's name."""
        prefix = f"{self.namespace(slug)}"
        containers = [
            item.name for item in self.engine.containers.list(all=True, ignore_removed=True)
        ]
        volumes = [item.name for item in self.engine.volumes.list()]
        networks = [item.name for item in self.engine.networks.list()]
        return [
            name
            for name in (*containers, *volumes, *networks)
            if name.startswith((f"{prefix}-", f"{prefix}_"))
        ]

    def get(self, slug: str, path: str) -> requests.Response:
        """Ask a site for a path, through the proxy, with what opens its door."""
        return requests.get(
            f"http://127.0.0.1:{self.http_port}{path}",
            headers={"Host": f"{slug}.{self.domain}:{self.http_port}", **self._key(slug)},
            timeout=60,
        )

    def _key(self, slug: str) -> dict[str, str]:
        """Return the header that opens a site's door; nothing where there is no web container."""
        web = self.containers(slug).get("web")
        if web is None or web.status != "running":
            return {}
        return door.headers(read_secret(web, door.KEY))

    def variant(self, tag: str, mautic: str = "") -> str:
        """Push both images under another tag, made of the built ones; return the tag.

        Args:
            tag: the tag.
            mautic: further lines of the mautic image's Dockerfile.
        """
        for name, lines in (("mautic", mautic), ("nginx", "")):
            base = f"{self.registry}/{name}:{self.tag()}"
            dockerfile = f"FROM {base}\nLABEL variant={tag}\n{lines}\n"
            image, _ = self.engine.images.build(
                fileobj=io.BytesIO(dockerfile.encode()), rm=True, forcerm=True, pull=True
            )
            reference = f"{self.registry}/{name}"
            image.tag(reference, tag)
            answer = self.engine.images.push(reference, tag, stream=True, decode=True)
            assert not [event for event in answer if "error" in event]
        return tag

    def secrets(self, slug: str) -> dict[str, str]:
        """Return the values of a branch's secrets."""
        readers = {
            "db_password": "fpm",
            "db_root_password": "database",
            "secret_key": "fpm",
            "admin_password": "fpm",
            door.KEY: "web",
        }
        there = self.containers(slug)
        return {name: read_secret(there[service], name) for name, service in readers.items()}

    def remove(self) -> None:
        """Remove everything that carries the project's name, whatever state it is in."""
        self.inv.close()
        mine = f"{self.project}-"
        for container in self.engine.containers.list(all=True, ignore_removed=True):
            if container.name.startswith(mine):
                with contextlib.suppress(NotFound, APIError):
                    container.remove(force=True, v=True)
        for volume in self.engine.volumes.list():
            if volume.name.startswith(mine):
                volume.remove(force=True)
        for network in self.engine.networks.list():
            if network.name.startswith(mine):
                network.remove()
        for image in self.engine.images.list():
            names = [*image.tags, *(image.attrs["RepoDigests"] or [])]
            for name in names:
                if name.startswith(f"localhost:{self.registry_port}/"):
                    with contextlib.suppress(ImageNotFound, APIError):
                        self.engine.images.remove(name)


def read_secret(container: Container, name: str) -> str:
    """Return a secret that a container may read."""
    item = container.exec_run(["cat", f"/run/secrets/mautic/{name}"])
    assert item.exit_code == 0, item.output
    text: str = item.output.decode()
    return text


def make_world(
    engine: docker.DockerClient, checkout: Path, scratch: Path, ports: Callable[[], int]
) -> World:
    """Return a world whose images are built; nothing is deployed in it yet."""
    home = scratch / "home"
    home.mkdir()
    return World(
        engine=engine,
        inv=Inv(home, scratch, warm=True),
        checkout=checkout,
        project=f"mt{secrets.token_hex(3)}",
        http_port=ports(),
        registry_port=ports(),
    )


def until_says(process: Popen[str], text: str, deadline_seconds: float = 120) -> str:
    """Read a run's stderr until it contains a text; return what was read."""
    read = ""
    deadline = time.monotonic() + deadline_seconds
    assert process.stderr is not None
    for line in process.stderr:
        read += line
        if text in line:
            return read
        assert time.monotonic() < deadline, f"never said {text!r}:\n{read}"
    raise AssertionError(f"ended without saying {text!r}:\n{read}")


def printed(done: CompletedProcess[str]) -> list[str]:
    """Return what a run has printed, without the signs of life of a slow machine."""
    text = f"{done.stderr}{done.stdout}"
    life = r"  \d+ s(?::.*)?\n"
    # The first of them comes below the title of what lasts.
    return re.sub(rf"^(?:.* …\n)?(?:{life})+", "", text, flags=re.MULTILINE).splitlines()


def inspected(world: World, slug: str) -> str:
    """Return everything the engine tells about a slug's containers, volumes and images."""
    containers = [item.attrs for item in world.containers(slug).values()]
    volumes = [
        item.attrs
        for item in world.engine.volumes.list()
        if item.name.startswith(f"{world.namespace(slug)}_")
    ]
    images = [world.engine.images.get(item["Image"]).history() for item in containers]
    return json.dumps([containers, volumes, images])
