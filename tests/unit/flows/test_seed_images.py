"""A seed's uploads in a registry: once, and with a tag only when all of them are there."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from tasks.core.errors import RegistryError, UnreadableError
from tasks.flows.seed_images import find_images, push_images
from tests.support.fakes_images import FakeRegistry
from tests.unit.adapters.registry.test_seed_layers import FILES, parts, tar_of

ID = "20260102t030405"
TAG = f"seed.{ID}"


def sha256(tar: bytes) -> str:
    return hashlib.sha256(tar).hexdigest()


def test_they_are_pushed_once_and_found_from_then_on() -> None:
    registry, tar = FakeRegistry(repositories={"seed-images"}), tar_of(FILES)
    assert find_images(registry, ID) == {}
    made = push_images(registry, ID, sha256(tar), parts(tar))
    assert find_images(registry, ID) == made
    assert set(made) == {"files", "images", "dashboards"}
    assert made["images"].startswith(f"{registry.url}/seed-images@sha256:")
    assert {name for seen in registry.seen if (name := seen.removeprefix("make ")) != seen} == {
        *("seed-files", "seed-dashboards")
    }
    changes = [seen for seen in registry.seen if not seen.startswith("make")]
    assert [seen.partition(" ")[0] for seen in changes] == ["push"] * 3 + ["tag"] * 3


def test_a_folder_that_a_seed_lacks_is_an_empty_one() -> None:
    tar = tar_of({"images/a.png": b"a"})
    registry = FakeRegistry()
    made = push_images(registry, ID, sha256(tar), [tar])
    layer = registry.layers["seed-files", made["files"].partition("@")[2]]
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        assert archive.getnames() == []
    assert find_images(registry, ID) == made


@pytest.mark.parametrize("lost", [1, 700, 3000])
def test_what_has_not_come_whole_gets_no_tag(lost: int) -> None:
    registry, tar = FakeRegistry(), tar_of(FILES)
    with pytest.raises(UnreadableError, match="uploads"):
        push_images(registry, ID, sha256(tar), [tar[:-lost]])
    assert not [seen for seen in registry.seen if seen.startswith("tag")]
    assert find_images(registry, ID) == {}


def test_one_that_was_ended_between_two_tags_is_pushed_anew() -> None:
    registry, tar = (
        FakeRegistry(fails={f"tag seed-images {TAG}": [RegistryError("gone")]}),
        tar_of(FILES),
    )
    with pytest.raises(RegistryError):
        push_images(registry, ID, sha256(tar), [tar])
    assert registry.tags("seed-dashboards")
    assert find_images(registry, ID) == {}
    registry.fails.clear()
    assert push_images(registry, ID, sha256(tar), [tar]) == find_images(registry, ID)
