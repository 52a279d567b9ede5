"""inv images.pin, and what builds and deploys make of its lock, against a real registry."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.adapters.docker.base_images import BaseImages
from tasks.adapters.docker.engine import Engine
from tasks.adapters.docker.standins import Standins
from tasks.core.errors import RegistryError
from tasks.core.images.pins import LOCK, PIPELINE, engine_image, parse_pins
from tests.integration.build_support import put_image
from tests.support.suite import Inv


class NoStandins:
    """No image has a stand-in."""

    def name_for(self, _: object) -> None:
        """Know none."""


def resolver(pins: dict[str, str]) -> BaseImages:
    standins = cast(Standins, NoStandins())
    return BaseImages(Engine(), standins, source="official", warn=print, pins=pins)


@pytest.fixture
def path(registry: str) -> str:
    """A path of the test's own in the registry."""
    return f"{registry}/{secrets.token_hex(4)}"


def put(path: str, name: str, content: str) -> str:
    return put_image(*f"{path}/{name}".split("/", 1), "1", content)


def test_a_pinned_base_is_what_it_was_though_its_tag_has_moved(path: str) -> None:
    reference = f"{path}/debian:1"
    before = put(path, "debian", "before")
    after = put(path, "debian", "after")
    assert before != after
    assert resolver({}).look(reference).digest == after
    pinned = resolver({reference: before}).look(reference)
    assert (pinned.reference, pinned.origin) == (f"{reference}@{before}", "registry")
    # What is given by its digest is nobody else's to pin.
    given = f"{reference}@{after}"
    assert resolver({reference: before}).look(given).digest == after


def test_a_pin_that_its_registry_has_not_is_no_reason_to_take_the_tag(path: str) -> None:
    put(path, "debian", "after")
    with pytest.raises(RegistryError, match=r"does not have .* by its digest") as caught:
        resolver({f"{path}/debian:1": f"sha256:{'0' * 64}"}).look(f"{path}/debian:1")
    assert "inv images.pin" in str(caught.value.hint)


def test_pins_are_written_moved_and_kept(path: str, checkout: Path, inv: Inv) -> None:
    images = {name: put(path, name, "first") for name in ("mautic", "redis", "mysql", "dind")}
    pipeline = checkout / PIPELINE
    text = pipeline.read_text()
    shipped_pipeline = text.replace(*engine_image(text), f"{path}/dind:1")
    pipeline.write_text(shipped_pipeline)
    settings = {
        "images": {name: f"{path}/{name}:1" for name in ("mautic", "redis")},
        "platform": {
            "database_image": f"{path}/mysql:1",
            # Its registry has no such image.
            "mail_image": f"{path}/mail:1",
        },
    }
    lock = checkout / LOCK
    shipped = lock.read_text()

    def pin(*options: str) -> dict[str, dict[str, Any]]:
        done = inv(checkout, "images.pin", "--format", "json", *options, settings=settings)
        found = {one["reference"]: one for one in json.loads(done.stdout)}
        failed = [one for one in found.values() if one["failure"]]
        assert done.returncode == (1 if failed else 0), done.stderr
        if failed:
            assert f"{len(failed)} of {len(found)} images cannot be pinned anew" in done.stderr
        said = [one[key] in done.stderr for one in failed for key in ("reference", "failure")]
        assert all(said)
        return found

    planned = pin("--dry-run")
    assert (lock.read_text(), pipeline.read_text()) == (shipped, shipped_pipeline)
    assert planned[f"{path}/mautic:1"]["after"] == images["mautic"]
    assert planned[f"{path}/mail:1"]["action"] == "failed"

    first = pin()
    assert {name: first[f"{path}/{name}:1"]["action"] for name in images} == dict.fromkeys(
        images, "pinned"
    )
    held = parse_pins(lock.read_text())
    assert {name: held[f"{path}/{name}:1"] for name in images} == images
    assert f"{path}/mail:1" not in held
    # GitLab reads no lock.
    by_digest = f"{path}/dind:1@{images['dind']}"
    assert pipeline.read_text() == shipped_pipeline.replace(f"{path}/dind:1", by_digest)

    moved, engine = put(path, "redis", "second"), put(path, "dind", "second")
    again = pin()
    assert {name: again[f"{path}/{name}:1"]["action"] for name in images} == {
        "dind": "moved",
        "mautic": "unchanged",
        "mysql": "unchanged",
        "redis": "moved",
    }
    assert again[f"{path}/redis:1"]["before"] == images["redis"]
    assert parse_pins(lock.read_text())[f"{path}/redis:1"] == moved
    assert f"  DIND_IMAGE: {path}/dind:1@{engine}\n" in pipeline.read_text()
    written = [file.stat().st_mtime_ns for file in (lock, pipeline)]
    pin()
    assert [file.stat().st_mtime_ns for file in (lock, pipeline)] == written


def test_a_lock_that_cannot_be_read_stops_what_would_build_on_it(checkout: Path, inv: Inv) -> None:
    (checkout / LOCK).write_text("debian:trixie-slim\n")
    done = inv(checkout, "build", "--dry-run")
    assert done.returncode == 2, done.stderr
    assert f"{LOCK}, line 1: debian:trixie-slim has no digest" in done.stderr
