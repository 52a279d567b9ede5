"""Images by the engine's API: made, asked about, pushed, removed."""

from __future__ import annotations

import io
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.adapters.docker.connection import engine_errors
from tasks.adapters.docker.engine import Engine
from tasks.adapters.registry.oci import OciRegistry
from tasks.core.errors import EngineError, RegistryError
from tests.integration.build_support import Answer, forget_images, front_door

if TYPE_CHECKING:
    import docker


@pytest.fixture
def made(engine: docker.DockerClient, tmp_path: Path) -> Iterator[str]:
    """An image of one file, made of a root file system."""
    tar = tmp_path / "root.tar"
    with tarfile.open(tar, "w") as archive:
        entry = tarfile.TarInfo("hello")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"you"))
    reference = f"mautic-multidev-test/engine-{secrets.token_hex(4)}:one"
    Engine().load(tar, reference, labels=("org.example.a", "org.example.b"))
    yield reference
    forget_images(engine, reference)


def test_an_image_of_a_root_file_system_is_known_and_has_a_command(
    made: str, engine: docker.DockerClient
) -> None:
    found = Engine().image(made)
    assert found is not None
    labels = {"org.example.a": "true", "org.example.b": "true"}
    assert (found.digests, found.labels) == ((), labels)
    inspected = engine.api.inspect_image(made)
    assert (inspected["Id"], inspected["Config"]["Cmd"]) == (found.id, ["bash"])
    assert Engine().has_image(made)
    assert Engine().image(f"{made}-not") is None


def test_an_image_is_pushed_and_its_public_name_does_not_stay(made: str, registry: str) -> None:
    public = f"{registry}/t{secrets.token_hex(4)}/hello:1"
    said: list[str] = []
    Engine().push(made, public, said.append)
    place, _, _ = public.rpartition("/")
    assert OciRegistry(place).digest("hello", "1")
    assert said
    assert not Engine().has_image(public)
    assert Engine().has_image(made)


def test_a_push_that_fails_says_why_and_leaves_no_name(
    made: str, registry: str, free_port: Callable[[], int]
) -> None:
    nobody = f"localhost:{free_port()}/hello:1"
    with pytest.raises(RegistryError, match=f"the push of {nobody} failed: .*connection refused"):
        Engine().push(made, nobody, lambda _: None)
    assert not Engine().has_image(nobody)
    with front_door(registry, lambda _: Answer(403)) as (host, _):
        refusing = f"{host}/hello:1"
        with pytest.raises(RegistryError, match=f"the push of {refusing} failed"):
            Engine().push(made, refusing, lambda _: None)
    assert not Engine().has_image(refusing)


def test_a_file_that_is_no_root_file_system_is_refused(tmp_path: Path) -> None:
    tar = tmp_path / "root.tar"
    tar.write_bytes(b"no archive" * 100)
    reference = f"mautic-multidev-test/engine-{secrets.token_hex(4)}:one"
    with pytest.raises(EngineError, match=f"refused making image {reference}"):
        Engine().load(tar, reference)
    assert not Engine().has_image(reference)


def test_a_full_disk_is_told_whatever_was_asked() -> None:
    from docker.errors import APIError

    reason = "write /var/lib/docker/tmp/x: no space left on device"
    with (
        pytest.raises(EngineError, match="the disk of the Docker Engine is full") as caught,
        engine_errors("pulling x"),
    ):
        raise APIError("500", explanation=reason)
    assert "docker system df" in (caught.value.hint or "")


def test_its_platform_is_what_docker_says() -> None:
    argv = ["docker", "version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert Engine().platform == said.strip()
