"""The entrance in tests: an environment that sleeps, and the waker as a process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
import requests

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.transport import ApiRequest, Transport
from tasks.core.kubernetes.labels import (
    ASLEEP,
    AWAKE,
    COMPONENT,
    INSTANCE,
    MANAGED,
    PREFIX,
)
from tests.support.controlplane import ControlPlane, free_ports
from tests.support.deploys import until
from tests.support.images import PREFIX as IMAGES
from tests.support.images import debian, has_image, key_of, machine_lock, run
from tests.support.suite import ROOT

Object = dict[str, Any]

FOLDER = ROOT / "docker" / "platform" / "entrance"
ACCOUNT = "mautic-entrance"
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
}
PROGRAM = {"User-Agent": "curl/8.5.0", "Accept": "*/*"}
PASSWORD = "the page's own"
LOGIN = ("preview", PASSWORD)
PAGE = "environments.dev.example.com"
"""The host name of the page of all environments."""
SITES = {
    "dev": {
        "host": "{slug}.dev.example.com",
        "namespace": "mautic-{slug}",
        "page": PAGE,
        "prices": {"cpu_hour": 0.05, "memory_hour": 0, "storage_month": 0, "currency": "EUR"},
        "route": {"kind": "none", "gateway": {}, "ingress": {}, "annotations": {}},
        "from": {"cidrs": [], "namespaces": []},
    }
}
IMAGE = f"registry.example.com/entrance@sha256:{'a' * 64}"


def entrance_image(engine: docker.DockerClient) -> str:
    """Return the entrance's image, built if the engine lacks it."""
    base = debian(engine)
    core = ROOT / "tasks" / "core"
    tag = key_of(FOLDER, ROOT / "docker" / "apt", core, ROOT / "tasks" / "adapters", more=base)
    reference = f"{IMAGES}/entrance:{tag}"
    with machine_lock("entrance"):
        if not has_image(engine, reference):
            run(
                *("docker", "buildx", "--builder", "default", "bake", "--load"),
                *("--file", str(FOLDER / "docker-bake.hcl")),
                *(f"--set=entrance.tags={reference}", f"--set=entrance.context={FOLDER}"),
                f"--set=entrance.contexts.apt={ROOT / 'docker' / 'apt'}",
                f"--set=entrance.contexts.core={core}",
                f"--set=entrance.contexts.adapters={ROOT / 'tasks' / 'adapters'}",
                env={"DEBIAN_IMAGE": base},
            )
    return reference


WORKLOADS: Mapping[str, tuple[str, str, str]] = {
    "mysql": ("StatefulSet", "mysql", "1"),
    "web": ("Deployment", "web", "2"),
    "worker": ("Deployment", "worker", "3"),
    "off": ("Deployment", "worker", ""),
    "segments": ("CronJob", "cron", "false"),
}
"""Kind, component and note of what one environment has."""


class Sleeper:
    """An environment that sleeps in an API server, and what listens once its web has pods.

    Attributes:
        listening: whether its web may be reached when it has pods.
    """

    def __init__(self, admin: Cluster, slug: str, port: int) -> None:
        self.admin = admin
        self.slug = slug
        self.namespace = f"mautic-{slug}"
        self.host = f"{slug}.dev.example.com"
        self.listening = True
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def make(self) -> None:
        """Create it, asleep."""
        labels = {**MANAGED, f"{PREFIX}environment": "dev", f"{PREFIX}slug": self.slug}
        meta = {"name": self.namespace, "labels": labels}
        self.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        for name in WORKLOADS:
            self.admin.create(self._workload(name))
        self.mark()
        self._thread.start()

    def mark(self) -> None:
        """Say that it sleeps."""
        said = {ASLEEP: json.dumps({"since": "2026-01-01T00:00:00+00:00", "by": "y", "why": "z"})}
        self.admin.patch("Namespace", self.namespace, None, {"metadata": {"annotations": said}})

    def sleep(self) -> None:
        """Put it to sleep, as the suite does."""
        self.mark()
        for name, (kind, _, note) in WORKLOADS.items():
            spec: Object = {"suspend": True} if kind == "CronJob" else {"replicas": 0}
            noted = {AWAKE: note} if note else {}
            patch = {"metadata": {"annotations": noted}, "spec": spec}
            self.admin.patch(kind, name, self.namespace, patch)

    def state(self) -> dict[str, Any]:
        """Return how many pods each workload is to have, and whether a CronJob is suspended."""
        found = {}
        for name, (kind, _, _) in WORKLOADS.items():
            spec = (self.admin.get(kind, name, self.namespace) or {})["spec"]
            found[name] = spec["suspend"] if kind == "CronJob" else spec["replicas"]
        return found

    def said(self) -> dict[str, str]:
        """Return the annotations of its namespace."""
        found = self.admin.get("Namespace", self.namespace)
        assert found
        annotations: dict[str, str] = found["metadata"].get("annotations") or {}
        return annotations

    def end(self) -> None:
        """Remove it."""
        self._ended.set()
        self._thread.join()
        self.admin.delete("Namespace", self.namespace)

    def _workload(self, name: str) -> Object:
        kind, component, note = WORKLOADS[name]
        labels = {INSTANCE: self.namespace, COMPONENT: component}
        meta: Object = {"name": name, "namespace": self.namespace, "labels": labels}
        if note:
            meta["annotations"] = {AWAKE: note}
        own = {**labels, "app": name}
        container = {"name": "main", "image": "registry.example.com/x:1"}
        template = {"metadata": {"labels": own}, "spec": {"containers": [container]}}
        if kind == "CronJob":
            job = {"spec": {"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}}}
            spec = {"schedule": "*/5 * * * *", "suspend": True, "jobTemplate": job}
            return {"apiVersion": "batch/v1", "kind": kind, "metadata": meta, "spec": spec}
        spec = {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template}
        if kind == "StatefulSet":
            spec["serviceName"] = name
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}

    def _serve(self) -> None:
        server: socket.socket | None = None
        while not self._ended.wait(0.1):
            web = self.admin.get("Deployment", "web", self.namespace)
            is_up = bool(web and web["spec"]["replicas"]) and self.listening
            if is_up and server is None:
                server = socket.create_server(("127.0.0.1", self._port))
            elif not is_up and server is not None:
                server.close()
                server = None
        if server is not None:
            server.close()


@dataclass(frozen=True)
class Reply:
    """An answer of the waker's."""

    status: int
    text: str
    headers: Mapping[str, str]


class Waker:
    """The waker as a process, which can be killed and started again.

    Args:
        scratch: an empty folder.
        address: where all environments are to be reached.
    """

    def __init__(
        self, plane: ControlPlane, where: str, scratch: Path, address: str, name: str
    ) -> None:
        scratch.mkdir(exist_ok=True)
        self.log = scratch / "waker.log"
        keys = ("host", "namespace", "page", "prices")
        sites = [
            {"environment": each, **{key: one[key] for key in keys}} for each, one in SITES.items()
        ]
        rules = {"project": "mautic", "sites": sites, "address": address}
        (scratch / "rules.json").write_text(json.dumps(rules))
        (scratch / "password").write_text(PASSWORD)
        token = Transport("test", str(plane.kubeconfig), 5).json(
            ApiRequest(
                "POST",
                f"/api/v1/namespaces/{where}/serviceaccounts/{ACCOUNT}/token",
                body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
            )
        )["status"]["token"]
        (scratch / "token").write_text(token)
        (scratch / "ca.crt").write_bytes((plane.pki.root / "ca.crt").read_bytes())
        api = urlsplit(plane.url)
        (self.port, _) = free_ports(2)
        self._environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{FOLDER}:{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ENTRANCE_RULES": str(scratch / "rules.json"),
            "ENTRANCE_ACCOUNT": str(scratch),
            "ENTRANCE_NAME": name,
            "ENTRANCE_PASSWORD": str(scratch / "password"),
            "ENTRANCE_PORT": str(self.port),
            "KUBERNETES_SERVICE_HOST": str(api.hostname),
            "KUBERNETES_SERVICE_PORT": str(api.port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it knows all namespaces."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "entrance", "wake"],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        def knows() -> bool:
            with contextlib.suppress(requests.RequestException):
                return self.get("waker").status == 200
            return False

        until(knows, 90)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it at once."""
        assert self._process
        self._process.send_signal(number)
        self._process.wait()

    def get(
        self,
        host: str,
        target: str = "/s/login",
        headers: Mapping[str, str] = BROWSER,
        method: str = "GET",
        login: tuple[str, str] | None = None,
    ) -> Reply:
        """Return its answer to a request."""
        url = f"http://127.0.0.1:{self.port}{target}"
        said = {**headers, "Host": host}
        made = requests.request(method, url, headers=said, timeout=60, auth=login)
        return Reply(made.status_code, made.text, made.headers)


@contextlib.contextmanager
def running(wakers: Sequence[Waker]) -> Iterator[None]:
    """Run wakers for the time of the block."""
    try:
        for waker in wakers:
            waker.start()
        yield
    finally:
        for waker in wakers:
            waker.kill()
