"""Finding Helm: on PATH, in the cache, in the locked wheel, or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.adapters.host.tools import HELM_LOCK, find_helm
from tasks.adapters.process import Runner
from tasks.core.errors import MissingToolError
from tasks.core.redact import Redactor

LAYER = "package/lib/layer.zip"


def helm_script(version: str) -> bytes:
    return f"#!/bin/sh\necho v{version}\n".encode()


def write_program(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def wheel_with(helm: bytes | None, *, member: str = LAYER) -> bytes:
    """A wheel of the shape of the locked one: layer.zip in a .tgz in the wheel."""
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w") as inner:
        inner.writestr("kubectl/kubectl", b"")
        if helm is not None:
            inner.writestr("helm/helm", helm)
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        for name, content in (("package/README.md", b"..."), (member, layer.getvalue())):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    wheel = io.BytesIO()
    info_dir = "layer-1.0.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as outer:
        outer.writestr("layer/_jsii/layer@1.0.0.jsii.tgz", package.getvalue())
        outer.writestr(
            f"{info_dir}/METADATA", "Metadata-Version: 2.1\nName: layer\nVersion: 1.0.0\n"
        )
        outer.writestr(f"{info_dir}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        outer.writestr(f"{info_dir}/RECORD", "")
    return wheel.getvalue()


class Machine:
    """A machine of the test's own: its PATH, its cache, a folder as the only package index."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.bin = root / "bin"
        self.index = root / "index"
        self.index.mkdir()
        self.said: list[str] = []
        self.environ = {"PATH": str(self.bin), "XDG_CACHE_HOME": str(root / "cache")}
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(self.index))

    def offer(self, wheel: bytes, *, digest: str | None = None) -> None:
        """Put a wheel into the index and lock it."""
        (self.index / "layer-1.0.0-py3-none-any.whl").write_bytes(wheel)
        digest = digest or hashlib.sha256(wheel).hexdigest()
        (self.root / HELM_LOCK).write_text(f"layer==1.0.0 --hash=sha256:{digest}\n")

    def withdraw(self) -> None:
        for wheel in self.index.glob("*.whl"):
            wheel.unlink()

    def find(self) -> Path:
        return find_helm(Runner(Redactor()), self.root, say=self.said.append, environ=self.environ)

    def left(self) -> list[str]:
        """What lies in the cache, as paths below it."""
        cache = self.root / "cache"
        return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path, monkeypatch)
    machine.offer(wheel_with(helm_script("4.3.1")))
    return machine


@pytest.mark.parametrize("version", ["4.0.0", "4.3.1", "4.12.7-rc.1"])
def test_a_supported_helm_on_path_is_used(machine: Machine, version: str) -> None:
    program = write_program(machine.bin / "helm", helm_script(version))
    assert machine.find() == program
    assert machine.said == []
    assert machine.left() == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (helm_script("3.19.0"), "is Helm 3.19.0, and Helm 4 is needed"),
        (helm_script("5.0.0"), "is Helm 5.0.0, and Helm 4 is needed"),
        (b"#!/bin/sh\necho hello\n", "does not tell its version"),
        (b"#!/bin/sh\necho v4.3.1\nexit 1\n", "does not tell its version"),
    ],
)
def test_another_helm_on_path_is_told_and_replaced(
    machine: Machine, content: bytes, reason: str
) -> None:
    on_path = write_program(machine.bin / "helm", content)
    found = machine.find()
    assert found != on_path
    assert found.read_bytes() == helm_script("4.3.1")
    assert machine.said[0] == f"{on_path} {reason}; using the one of {HELM_LOCK}"


def test_without_helm_the_locked_one_is_fetched_once(machine: Machine) -> None:
    found = machine.find()
    assert os.access(found, os.X_OK)
    assert machine.left() == [str(found.relative_to(machine.root / "cache"))]
    machine.withdraw()
    machine.said.clear()
    assert machine.find() == found
    assert machine.said == []


def test_a_new_lock_brings_a_new_helm(machine: Machine) -> None:
    old = machine.find()
    machine.offer(wheel_with(helm_script("4.4.0")))
    new = machine.find()
    assert new != old
    assert new.read_bytes() == helm_script("4.4.0")


def test_a_broken_file_in_the_cache_is_fetched_again(machine: Machine) -> None:
    found = machine.find()
    found.write_bytes(b"#!/bin/sh\nexit 1\n")
    assert machine.find() == found
    assert found.read_bytes() == helm_script("4.3.1")


def test_a_wheel_of_another_hash_is_refused(machine: Machine) -> None:
    machine.offer(wheel_with(helm_script("4.3.1")), digest="0" * 64)
    with pytest.raises(MissingToolError) as caught:
        machine.find()
    assert f"{HELM_LOCK} could not be fetched" in caught.value.message
    assert "0" * 64 in str(caught.value.output)
    assert machine.left() == []


def test_an_index_that_sends_more_than_a_helm_is_not_listened_to(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.adapters.host.tools.WHEEL_BYTES", 100)
    with pytest.raises(MissingToolError) as caught:
        machine.find()
    assert "File too large" in str(caught.value.output)
    assert machine.left() == []


def test_without_an_index_the_error_says_what_to_do(machine: Machine) -> None:
    machine.withdraw()
    with pytest.raises(MissingToolError) as caught:
        machine.find()
    assert caught.value.message.startswith("helm is not on PATH, and ")
    assert "install Helm 4" in str(caught.value.hint)
    assert machine.left() == []


def not_a_package() -> bytes:
    wheel = wheel_with(None)
    damaged = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as old, zipfile.ZipFile(damaged, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"?" if name.endswith(".tgz") else old.read(name))
    return damaged.getvalue()


@pytest.mark.parametrize(
    "wheel",
    [
        lambda: wheel_with(None),
        lambda: wheel_with(b"", member="package/lib/other.zip"),
        not_a_package,
    ],
    ids=["no helm", "no layer", "damaged"],
)
def test_a_wheel_without_helm_is_told(machine: Machine, wheel: Callable[[], bytes]) -> None:
    machine.offer(wheel())
    with pytest.raises(MissingToolError, match=r"there is no helm in layer-1\.0\.0"):
        machine.find()
    assert machine.left() == []


def test_a_cache_that_cannot_be_written_is_told(machine: Machine) -> None:
    (machine.root / "cache").write_text("a file where a folder should be")
    with pytest.raises(MissingToolError, match="cannot be kept in"):
        machine.find()


def test_the_cache_is_in_the_home_directory_without_xdg(machine: Machine) -> None:
    machine.environ = {
        "PATH": str(machine.bin),
        "HOME": str(machine.root / "home"),
        "XDG_CACHE_HOME": "relative/is/ignored",
    }
    assert machine.find().is_relative_to(machine.root / "home" / ".cache" / "mautic-multidev")
