"""What the tests of the images share: a probe in Mautic's place, builds, containers, requests."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container

from tests.integration.standin_support import finish
from tests.support.suite import ROOT

LABELS = {"io.mautic-multidev.test": "1"}
PROBE = Path(__file__).parent / "probe_app"
METADATA = {
    "version": "7.2.2",
    "minimum_php_version": "8.2.0",
    "maximum_php_version": "8.5.99",
}
PARAMETERS: dict[str, dict[str, str]] = json.loads(
    (ROOT / "tests" / "data" / "mautic_parameters.json").read_text()
)["parameters"]
"""The types of Mautic's parameters, by line and name."""
HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
"""How Compose and the chart run the images."""

WRITABLE = "rw,noexec,nosuid,nodev,uid=33,gid=33,mode=0700"
VAR = "/var/www/html/var"
MAUTIC_TMPFS = dict.fromkeys(["/tmp", f"{VAR}/cache", f"{VAR}/logs", f"{VAR}/tmp"], WRITABLE)
NGINX_TMPFS = {"/tmp": WRITABLE}


def probe_tree(
    folder: Path,
    files: Mapping[str, str] | None = None,
    *,
    plain: bool = False,
    metadata: Mapping[str, str] = METADATA,
) -> Path:
    """Make a tree in Mautic's layout whose front controller and console are the probe.

    Args:
        folder: where the tree is made.
        files: more files by their paths below the project; in the web root as docroot/….
        plain: as in Mautic's release archives, without docroot/.
        metadata: app/release_metadata.json.
    """
    given = {
        "composer.json": "{}",
        "bin/console": (PROBE / "console").read_text(),
        "docroot/index.php": (PROBE / "index.php").read_text(),
        "docroot/app/release_metadata.json": json.dumps(metadata),
        "docroot/app/bundles/CoreBundle/Config/config.php": declaration(PARAMETERS["7"]),
        **(files or {}),
    }
    for name, content in given.items():
        path = folder / (name.removeprefix("docroot/") if plain else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def declaration(types: Mapping[str, str]) -> str:
    """Return a bundle's configuration that declares parameters of these types, as Mautic's do."""
    defaults = {"bool": "false", "int": "0", "float": "0.5", "array": "[]", "string": "''"}
    rows = "".join(f"'{name}' => {defaults[kind]}," for name, kind in types.items())
    return f"<?php return ['parameters' => [{rows}]];"


def copy_docker(folder: Path) -> Path:
    """Copy the project's docker/ to a folder of the test's own, for additions; return it."""
    for name in ("apt", "mautic", "nginx"):
        shutil.copytree(ROOT / "docker" / name, folder / "docker" / name)
    shutil.copy(ROOT / "docker" / "docker-bake.hcl", folder / "docker")
    return folder


class Builds:
    """Builds images and removes their tags at the end; the builder's cache keeps the layers.

    Args:
        engine: the Docker Engine.
        debian: the base image.
    """

    def __init__(self, engine: docker.DockerClient, debian: str) -> None:
        self._engine = engine
        self._debian = debian
        self._token = secrets.token_hex(4)
        self._references: list[str] = []

    def _reference(self, name: str) -> str:
        reference = f"mautic-multidev-test/{name}:{self._token}{len(self._references)}"
        self._references.append(reference)
        return reference

    def code(self, tree: Path) -> str:
        """Build an image that holds nothing but a tree, as MAUTIC_IMAGE; return its reference."""
        reference = self._reference("code")
        dockerfile = tree.with_name(f"{tree.name}.Dockerfile")
        dockerfile.write_text("FROM scratch\nCOPY . /var/www/html/\n")
        label = [f"--label={key}={value}" for key, value in LABELS.items()]
        done = _run(
            "docker", "build", "-q", "-t", reference, "-f", str(dockerfile), *label, str(tree)
        )
        assert done.returncode == 0, done.stderr
        return reference

    def bake(
        self,
        code: str,
        *,
        project: Path = ROOT,
        targets: tuple[str, ...] = ("mautic", "nginx"),
        **variables: str,
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
        """Run the project's bake file; return what it said and the references by target."""
        references = {target: self._reference(target) for target in targets}
        settings = [f"--set={name}.tags={reference}" for name, reference in references.items()]
        settings += [f"--set=*.labels.{key}={value}" for key, value in LABELS.items()]
        done = _run(
            *("docker", "buildx", "--builder", "default", "bake", "--load", "--progress=plain"),
            *("--file", "docker/docker-bake.hcl", *settings, *targets),
            cwd=project,
            env={"MAUTIC_IMAGE": code, "DEBIAN_IMAGE": self._debian, **variables},
        )
        return done, references

    def images(self, code: str, **options: Any) -> dict[str, str]:
        """Build the images; return their references by target."""
        done, references = self.bake(code, **options)
        assert done.returncode == 0, done.stderr
        return references

    def close(self) -> None:
        """Remove every tag that was made."""
        for reference in self._references:
            # A build that was meant to fail made none.
            if self._engine.images.list(reference):
                self._engine.images.remove(reference, force=True)


class Containers:
    """Starts containers and removes them, and their networks and volumes, at the end."""

    def __init__(self, engine: docker.DockerClient) -> None:
        self._engine = engine
        self._made: list[Any] = []

    def start(self, image: str, *command: str, **options: Any) -> Container:
        """Start a container in the background."""
        container: Container = self._engine.containers.create(
            image,
            list(command),
            name=f"mautic-multidev-test-{secrets.token_hex(4)}",
            labels=LABELS,
            **options,
        )
        self._made.append(container)
        container.start()
        return container

    def mautic(self, image: str, *command: str, **options: Any) -> Container:
        """Start a hardened container of the mautic image, without a network unless it is given."""
        if "network" not in options:
            options.setdefault("network_mode", "none")
        return self.start(image, *command, **{"tmpfs": MAUTIC_TMPFS, **HARDENED, **options})

    def nginx(self, image: str, *command: str, **options: Any) -> Container:
        """Start a hardened container of the nginx image."""
        return self.start(image, *command, **{"tmpfs": NGINX_TMPFS, **HARDENED, **options})

    def finish(self, image: str, *command: str, **options: Any) -> tuple[int, str]:
        """Run a hardened container of the mautic image to its end; return its status and output."""
        return finish(self.mautic(image, *command, **options))

    def network(self) -> str:
        """Make a network; return its name."""
        name = f"mautic-multidev-test-{secrets.token_hex(4)}"
        self._made.insert(0, self._engine.networks.create(name, labels=LABELS))
        return name

    def close(self) -> None:
        """Remove everything that was made, networks last."""
        for made in reversed(self._made):
            if isinstance(made, Container):
                made.remove(force=True, v=True)
            else:
                made.remove()


@contextmanager
def containers(engine: docker.DockerClient) -> Iterator[Containers]:
    """Give containers that are gone afterwards."""
    made = Containers(engine)
    try:
        yield made
    finally:
        made.close()


def logs(container: Container) -> str:
    """Return what a container has said so far."""
    text: str = container.logs().decode(errors="replace")
    return text


def look(
    container: Container, *argv: str, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a command that only looks in a running container; return its status and output.

    On a busy machine the engine now and then loses what a short command says (its status stays
    right), so the end is marked and the command asked again where the mark is missing.
    """
    marked = '"$@" 2>&1; printf "\\n-- exit %s" "$?"'

    def said() -> re.Match[str] | None:
        command = ["sh", "-c", marked, "sh", *argv]
        done = container.exec_run(command, environment=dict(environment or {}))
        raw = done.output.decode(errors="replace")
        return re.fullmatch(r"(.*)\n-- exit (\d+)", raw, re.DOTALL)

    match = until(f"output of {argv}", said)
    return int(match[2]), match[1]


def until(what: str, probe: Any, evidence: Any = str, deadline_seconds: float = 90) -> Any:
    """Return the first result of probe that counts as true."""
    started = time.monotonic()
    while True:
        if result := probe():
            return result
        waited = f"no {what} in {deadline_seconds} s:\n{evidence()}"
        assert time.monotonic() - started < deadline_seconds, waited
        time.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def from_php(self) -> bool:
        """Whether the front controller made it."""
        return self.headers["X-Probe"] == "1"

    @property
    def probe(self) -> dict[str, Any]:
        """What the front controller saw."""
        seen: dict[str, Any] = json.loads(self.body)
        return seen


@dataclass(frozen=True)
class Site:
    """A running pair of nginx and php-fpm."""

    nginx: Container
    fpm: Container
    port: int
    probes_port: int

    def request(
        self,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        body: bytes | None = None,
        port: int | None = None,
        host: str = "127.0.0.1",
    ) -> Answer:
        """Send a request whose target goes over the wire byte by byte as it is given."""
        connection = http.client.HTTPConnection(host, port or self.port, timeout=60)
        try:
            own_host = "Host" in (headers or {})
            connection.putrequest(method, target, skip_host=own_host, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def probe_request(self, target: str) -> Answer:
        """Send a request to the port of the probes."""
        return self.request(target, port=self.probes_port)

    def inner_request(self, target: str) -> str:
        """Send a request to that port from within the container; return the whole answer."""
        _, said = look(self.nginx, "bash", "-c", _bash_request(8081, target))
        return said

    def neighbour_request(self, made: Containers, image: str, target: str) -> Container:
        """Start a container of the pair's network that sends a request and says the whole answer.

        The network's interfaces go with nginx, and from a busy machine they take along what they
        have not carried yet. Loopback stays as long as one container is in the network.
        """
        return made.nginx(
            *(image, "-c", _bash_request(8080, target)),
            entrypoint=["bash"],
            network_mode=f"container:{self.nginx.id}",
        )


def _bash_request(port: int, target: str) -> str:
    """Return a line of Bash that sends a request to a port of its own network."""
    ask = f"printf 'GET {target} HTTP/1.0\\r\\n\\r\\n' >&3"
    return f"exec 3<>/dev/tcp/127.0.0.1/{port} && {ask} && cat <&3"


def start_site(
    made: Containers,
    images: Mapping[str, str],
    *,
    nginx: Mapping[str, Any] | None = None,
    fpm: Mapping[str, Any] | None = None,
) -> Site:
    """Start nginx and php-fpm, as in a pod, and wait until both answer.

    Args:
        made: what removes them.
        images: the references by target.
        nginx: options of its container.
        fpm: options of its container.
    """
    ports = {f"{port}/tcp": ("127.0.0.1", None) for port in (8080, 8081)}
    front = made.nginx(images["nginx"], ports=ports, **(nginx or {}))
    back = made.mautic(images["mautic"], network_mode=f"container:{front.id}", **(fpm or {}))
    front.reload()
    assert front.status == "running", logs(front)
    port, probes = (int(front.ports[f"{port}/tcp"][0]["HostPort"]) for port in (8080, 8081))
    site = Site(front, back, port, probes)

    def answers() -> bool:
        try:
            return site.probe_request("/fpm-ping").status == 200
        except (ConnectionError, http.client.HTTPException):
            return False

    until("answer of php-fpm", answers, lambda: logs(front) + logs(back))
    return site


def _run(
    *argv: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    inherited = {
        key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_HOST") if key in os.environ
    }
    return subprocess.run(
        argv,
        cwd=cwd,
        env={**inherited, **(env or {})},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
