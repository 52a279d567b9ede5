"""The stand-in images that the tests run on, made once per machine and kept by content key."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
from docker.errors import ImageNotFound

from tasks.adapters.docker.engine import Engine
from tasks.adapters.docker.standins import STANDIN
from tasks.core.images.content_key import content_key
from tests.support.suite import ROOT

PREFIX = "mautic-multidev-standin"
STANDINS = ROOT / "docker" / "standins"


def key_of(*paths: Path, more: str = "") -> str:
    """Return a short key over the contents of files and folders."""
    digest = hashlib.sha256(more.encode())
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in (one for one in files if one.is_file() and "__pycache__" not in one.parts):
            digest.update(f"{file.relative_to(ROOT)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def machine_lock(name: str) -> Iterator[None]:
    """Hold a lock of this user: xdist workers share the engine."""
    folder = Path(tempfile.gettempdir()) / f"mautic-multidev-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def has_image(engine: docker.DockerClient, reference: str) -> bool:
    """Return True if the engine holds an image."""
    try:
        engine.images.get(reference)
    except ImageNotFound:
        return False
    return True


def debian(engine: docker.DockerClient, suite: str = "trixie") -> str:
    """Return the stand-in for debian:<suite>-slim, made by docker/standins/debian.sh if needed.

    It has the name that the suite itself gives it, so that one debootstrap serves both.
    """
    script = STANDINS / "debian.sh"
    reference = f"{PREFIX}/debian:{content_key([script.read_text(), suite, Engine().platform])}"
    with machine_lock("debian"):
        if not has_image(engine, reference):
            with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
                tar = Path(scratch) / "root.tar"
                run("sh", str(script), suite, str(tar))
                changes = ('CMD ["bash"]', f'LABEL {STANDIN}="true"')
                named = [word for change in changes for word in ("--change", change)]
                run("docker", "import", *named, str(tar), reference)
    return reference


def standin(engine: docker.DockerClient, target: str) -> str:
    """Return a stand-in image of docker/standins/docker-bake.hcl, built if the engine lacks it."""
    base = debian(engine)
    bake = STANDINS / "docker-bake.hcl"
    tag = key_of(bake, STANDINS / target, more=base)
    reference = f"{PREFIX}/{target}:{tag}"
    with machine_lock(target):
        if not has_image(engine, reference):
            run(
                *("docker", "buildx", "--builder", "default", "bake", "--file", str(bake)),
                *("--load", target),
                env={
                    "DEBIAN_IMAGE": base,
                    "REPOSITORY": PREFIX,
                    "TAG": tag,
                    "CONTEXT": str(STANDINS),
                },
            )
    return reference


def mailpit(engine: docker.DockerClient) -> str:
    """Return the stand-in for Mailpit's image, built if the engine lacks it."""
    return _own(engine, "mailpit")


def symfony(engine: docker.DockerClient) -> str:
    """Return an image with a site of Symfony's, built if the engine lacks it."""
    return _own(engine, "symfony", php=ROOT / "docker" / "mautic" / "php")


def _own(engine: docker.DockerClient, name: str, **contexts: Path) -> str:
    """Return an image of a folder beside this file, built if the engine lacks it."""
    base, folder = debian(engine), Path(__file__).parent / name
    contexts["apt"] = ROOT / "docker" / "apt"
    reference = f"{PREFIX}/{name}:{key_of(folder, *contexts.values(), more=base)}"
    with machine_lock(name):
        if not has_image(engine, reference):
            run(
                *("docker", "buildx", "--builder", "default", "build", "--load"),
                *(f"--tag={reference}", f"--build-arg=DEBIAN_IMAGE={base}"),
                *(f"--build-context={each}={path}" for each, path in contexts.items()),
                str(folder),
            )
    return reference


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    """Run a program of the tests' own set-up; its whole output is in the failure."""
    done = subprocess.run(
        argv,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(argv)} exited {done.returncode}:\n{done.stdout}"
    return done.stdout
