"""What the tests of building share: tiny images, and a registry that fails on demand."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from docker.errors import NotFound

from tasks.adapters.registry.oci import OciRegistry
from tests.support.suite import Inv, commit_all

if TYPE_CHECKING:
    import docker

BAKE = """\
variable "DEBIAN_IMAGE" {
  default = "debian:trixie-slim"
}
variable "MAUTIC_IMAGE" {
  default = "mautic/mautic:7.2-fpm"
}
variable "PHP" {
  default = ""
}
variable "REVISION" {
  default = ""
}
group "default" {
  targets = ["mautic", "nginx"]
}
target "code" {
  context    = "docker/mautic"
  dockerfile = "code.Dockerfile"
  args       = { MAUTIC_IMAGE = MAUTIC_IMAGE }
}
target "mautic" {
  context  = "docker/mautic"
  contexts = { code = "target:code" }
  args     = { DEBIAN_IMAGE = DEBIAN_IMAGE, PHP = PHP }
  labels   = { "org.opencontainers.image.revision" = REVISION }
}
target "nginx" {
  context  = "docker/nginx"
  contexts = { code = "target:code" }
  args     = { DEBIAN_IMAGE = DEBIAN_IMAGE }
}
"""

CODE = """\
ARG MAUTIC_IMAGE
FROM $MAUTIC_IMAGE
COPY plugins /plugins
"""

IMAGE = """\
ARG DEBIAN_IMAGE
FROM $DEBIAN_IMAGE
ARG PHP
ENV PHP=$PHP
COPY --from=code /plugins /plugins
COPY own /own
"""


def shrink(checkout: Path) -> None:
    """Replace the project's images by two that build in a second, and commit that."""
    docker = checkout / "docker"
    for folder in ("mautic", "nginx"):
        shutil.rmtree(docker / folder)
        (docker / folder / "own").mkdir(parents=True)
        (docker / folder / "Dockerfile").write_text(IMAGE)
        (docker / folder / "own" / "file").write_text(folder)
    (docker / "docker-bake.hcl").write_text(BAKE)
    (docker / "mautic" / "plugins").mkdir()
    (docker / "mautic" / "plugins" / "plugin").write_text("plugin")
    (docker / "mautic" / "code.Dockerfile").write_text(CODE)
    # What only one of the two images holds must not change the other.
    (docker / "mautic" / "code.Dockerfile.dockerignore").write_text("*\n!plugins\n")
    commit_all(checkout, "tiny images")


def tiny_base(engine: docker.DockerClient, name: str, content: bytes = b"") -> str:
    """Put an image that only this machine knows, of one file, into the engine."""
    content = content or name.encode()
    root = io.BytesIO()
    with tarfile.open(fileobj=root, mode="w") as tar:
        entry = tarfile.TarInfo("name")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    reference = f"mautic-multidev-test/{name}:1"
    engine.api.import_image_from_data(root.getvalue(), repository=reference[:-2], tag="1")
    return reference


class Site:
    """A checkout with tiny images, a path in a real registry, and `inv build` in between.

    Args:
        checkout: the checkout.
        inv: runs the suite.
        url: host, port and path of its registry.
        base: the local image that both images are built on.
    """

    def __init__(self, checkout: Path, inv: Inv, url: str, base: str) -> None:
        self.checkout = checkout
        self.inv = inv
        self.url = url
        self.base = base
        self.environment: dict[str, Any] = {}
        self.images: dict[str, Any] = {}

    def options(
        self, env: Mapping[str, str] | None = None, url: str | None = None
    ) -> dict[str, dict[str, Any]]:
        """Return settings and environment variables of a run."""
        registry = {"kind": "oci", "url": url or self.url}
        local = {"registry": registry, **self.environment}
        return {
            "settings": {
                "project": "mtbuild",
                "images": self.images,
                "environments": {"local": local},
            },
            "env": {"DEBIAN_IMAGE": self.base, "MAUTIC_IMAGE": self.base, **(env or {})},
        }

    def build(
        self, *args: str, env: Mapping[str, str] | None = None, url: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv build` to its end."""
        return self.inv(self.checkout, "build", *args, **self.options(env, url))

    def built(self, *args: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run `inv build`, which must end well; return the images of build.json."""
        done = self.build(*args, env=env)
        assert done.returncode == 0, done.stderr
        images: dict[str, Any] = build_json(self.checkout)["images"]
        return images

    def actions(self, *args: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """Run `inv build`, which must end well; return what was done with each image."""
        return {name: image["action"] for name, image in self.built(*args, env=env).items()}

    def write(self, name: str, text: str) -> None:
        """Write a file below docker/."""
        (self.checkout / "docker" / name).write_text(text)

    def commit(self, message: str = "change") -> str:
        """Commit everything; return the first eight digits of the commit."""
        return commit_all(self.checkout, message)[:8]

    @property
    def registry(self) -> OciRegistry:
        """A client of the site's own path in the registry."""
        return OciRegistry(self.url)


def forget_images(engine: docker.DockerClient, prefix: str) -> None:
    """Remove the engine's images whose names begin so."""
    # One question: the SDK's own list asks for each image again, which may have gone meanwhile.
    for image in engine.api.images():
        names = [*(image["RepoTags"] or []), *(image["RepoDigests"] or [])]
        for name in [name for name in names if name.startswith(prefix)]:
            with contextlib.suppress(NotFound):
                engine.api.remove_image(name, force=True)


def build_json(checkout: Path) -> dict[str, Any]:
    """Return what the last build wrote."""
    written: dict[str, Any] = json.loads((checkout / "build.json").read_text())
    return written


def put_image(host: str, repository: str, tag: str, content: str) -> str:
    """Put a small image straight into a registry; return its digest."""
    base = f"http://{host}/v2/{repository}"
    config = json.dumps({"architecture": "amd64", "os": "linux", "content": content}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    place = requests.post(f"{base}/blobs/uploads/", timeout=30).headers["Location"]
    requests.put(place, params={"digest": digest}, data=config, timeout=30).raise_for_status()
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest,
            "size": len(config),
        },
        "layers": [],
    }
    answer = requests.put(
        f"{base}/manifests/{tag}", json=manifest, headers={"Content-Type": kind}, timeout=30
    )
    answer.raise_for_status()
    return answer.headers["Docker-Content-Digest"]


@dataclass
class Request:
    """A request as the front door saw it."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


@dataclass
class Answer:
    """An answer given instead of the registry's."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Fault = Callable[[Request], Answer | None]


@contextlib.contextmanager
def front_door(upstream: str, fault: Fault) -> Iterator[tuple[str, list[Request]]]:
    """Stand before a real registry, and answer in its place where a fault says so.

    Args:
        upstream: host and port of the registry.
        fault: returns the answer to a request, or None to pass it on.

    Yields:
        Host and port of the front door, and the requests it has seen so far.
    """
    seen: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            # One header may come several times, as docker's Accept does.
            headers = {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers}
            request = Request(self.command, self.path, self._body(), headers)
            seen.append(request)
            answer = fault(request) or self._pass_on(request)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            length = answer.headers.get("Content-Length", "0")
            self.send_header(
                "Content-Length", length if request.method == "HEAD" else str(len(answer.body))
            )
            self.end_headers()
            if request.method != "HEAD":
                self.wfile.write(answer.body)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self.handle_any
            raise AttributeError(name)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _pass_on(self, request: Request) -> Answer:
            connection = http.client.HTTPConnection(upstream, timeout=60)
            with contextlib.closing(connection):
                drop = {"transfer-encoding", "content-length", "connection"}
                headers = {k: v for k, v in request.headers.items() if k.lower() not in drop}
                connection.request(request.method, request.path, request.body, headers)
                response = connection.getresponse()
                return Answer(response.status, dict(response.headers), response.read())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"localhost:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
