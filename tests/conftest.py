"""Fixtures that every family of tests shares. What costs seconds lives for the whole session."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import hypothesis
import pytest
import requests

from tasks.core.variables import inherited_variables
from tests.support.suite import Inv, copy_project

if TYPE_CHECKING:
    import docker

    from tasks.adapters.kubernetes.cluster import Cluster
    from tests.support.aws import Moto
    from tests.support.controlplane import ControlPlane
    from tests.support.kube_cli import KubeEnv
    from tests.support.node import Node


# The tests run git and docker themselves, also in a hook: GIT_DIR would lead them to the repository
# that is being pushed.
for _name in os.environ.keys() - inherited_variables(os.environ).keys():
    del os.environ[_name]

# How long an example takes is the machine's business: other tests run beside it.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

OWNER_LABEL = "io.mautic-multidev.test.pid"
"""Process number of the test run that a container belongs to."""


def missing(what: str) -> NoReturn:
    """Skip on a person's machine, fail in CI: a test that needs a tool must not vanish there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}: in CI this must be there")
    pytest.skip(what)


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The Docker Engine of this machine."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        missing(f"no Docker Engine answers: {error}")
    yield client
    client.close()


@pytest.fixture(scope="session")
def debian_image(engine: docker.DockerClient) -> str:
    """A local image that stands in for debian:trixie-slim, kept in the engine between runs."""
    from tests.support.images import debian

    return debian(engine)


@pytest.fixture(scope="session")
def registry(engine: docker.DockerClient) -> Iterator[str]:
    """A real, empty registry on loopback, as `localhost:<port>`; tags and images can be deleted."""
    with running_registry(engine) as url:
        yield url


@contextlib.contextmanager
def running_registry(engine: docker.DockerClient) -> Iterator[str]:
    """Run a registry for the time of the block."""
    from tests.support.images import standin

    _remove_orphans(engine)
    container = engine.containers.create(
        standin(engine, "registry"),
        name=f"mautic-multidev-test-registry-{secrets.token_hex(4)}",
        labels={OWNER_LABEL: str(os.getpid())},
        environment={"REGISTRY_STORAGE_DELETE_ENABLED": "true"},
        ports={"5000/tcp": ("127.0.0.1", None)},
        tmpfs={"/var/lib/registry": "uid=5000,gid=5000"},
    )
    try:
        container.start()
        container.reload()
        url = f"localhost:{container.ports['5000/tcp'][0]['HostPort']}"
        _wait_for(f"http://{url}/v2/", lambda: container.logs().decode(errors="replace"))
        yield url
    finally:
        container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project") / "checkout")


@pytest.fixture
def checkout(_project: Path, tmp_path: Path) -> Path:
    """This project as a git repository of its own: one commit, on `main`, clean."""
    path = tmp_path / "checkout"
    shutil.copytree(_project, path, symlinks=True)
    return path


@pytest.fixture
def inv(tmp_path: Path) -> Inv:
    """Runs `inv` in a checkout with a HOME of its own and none of this process's settings.

    `inv(checkout, "build", "--env", "local", settings={...}, env={...})` returns the completed
    process; `inv.start(...)` a running one.
    """
    home = tmp_path / "home"
    home.mkdir()
    return Inv(home, tmp_path)


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[Inv]:
    """As `inv`, for a test that runs it many times: from the second on in half the time."""
    home = tmp_path / "forking-home"
    home.mkdir()
    made = Inv(home, tmp_path, warm=True)
    yield made
    made.close()


@pytest.fixture
def project() -> str:
    """A project name of its own, so that nothing meets what a person runs on this machine."""
    return f"mt{secrets.token_hex(3)}"


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Returns, each time it is called, another loopback port that nothing listens on."""
    given: set[int] = set()

    def find() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port: int = probe.getsockname()[1]
            if port not in given:
                given.add(port)
                return port

    return find


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """A moto server that all tests of the session share; names of their own keep them apart."""
    from tests.support.aws import Moto

    with Moto(tmp_path_factory.mktemp("aws")) as server:
        yield server


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real Kubernetes control plane without any node; in CI, too, it may be missing."""
    from tests.support.controlplane import ControlPlane, needed_assets

    programs = needed_assets()
    plane = ControlPlane(programs, tmp_path_factory.mktemp("control-plane"))
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()


@pytest.fixture(scope="session")
def node(control_plane: ControlPlane) -> Iterator[Node]:
    """The control plane's only node: it plays the fates that pods are annotated with."""
    from tests.support.node import Node

    with Node(control_plane) as played:
        yield played


@pytest.fixture(scope="session")
def cluster(control_plane: ControlPlane) -> Cluster:
    """The control plane through the suite's own adapter, as its administrator."""
    from tasks.adapters.kubernetes.cluster import Cluster

    return Cluster("test", str(control_plane.kubeconfig))


@pytest.fixture(scope="module")
def kube_env(
    control_plane: ControlPlane,
    node: Node,
    registry: str,
    _project: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[KubeEnv]:
    """The command line, and everything that a deploy to the control plane needs."""
    from tests.support.kube_cli import kube_environment

    scratch = tmp_path_factory.mktemp("kube")
    with kube_environment(control_plane, node, registry, _project, scratch) as made:
        yield made


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new namespace, asked to go away at the end."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    cluster.delete("Namespace", name)


def _remove_orphans(engine: docker.DockerClient) -> None:
    """Remove what a test run that was killed has left."""
    from docker.errors import APIError

    for container in engine.containers.list(
        all=True, ignore_removed=True, filters={"label": OWNER_LABEL}
    ):
        if not Path("/proc", container.labels[OWNER_LABEL]).exists():
            # Another process may be removing the same one.
            with contextlib.suppress(APIError):
                container.remove(force=True, v=True)


def _wait_for(url: str, evidence: Callable[[], str], deadline_seconds: float = 90) -> None:
    started = time.monotonic()
    while True:
        try:
            requests.get(url, timeout=5).raise_for_status()
            return
        except requests.RequestException as error:
            if time.monotonic() - started > deadline_seconds:
                pytest.fail(f"{url} did not answer in time: {error}\n{evidence()}")
            time.sleep(0.1)
