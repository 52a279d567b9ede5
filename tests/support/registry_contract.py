"""The contract of `Registry`, which the fake and the real ones must fulfil."""

from __future__ import annotations

from typing import Protocol

import pytest

from tasks.adapters.registry.attachments import Attachment
from tasks.core.errors import RegistryError
from tasks.flows.registry_port import Registry


class Push(Protocol):
    """Puts images into the repository `mautic`."""

    def __call__(self, content: str, /, *tags: str) -> str:
        """Put an image of this content there under some tags; return its digest."""


def check_registry(registry: Registry, push: Push) -> None:
    """Check a registry in which nobody has put anything."""
    assert registry.tags("mautic") == {}
    assert registry.digest("mautic", "1") is None
    one = push("one", "1")
    two = push("two", "2")
    assert one != two
    assert registry.reference("mautic", one) == f"{registry.repository('mautic')}@{one}"
    assert registry.repository("mautic").startswith(f"{registry.host}/")
    # Found by tag and by digest, and several in the order in which they are asked for.
    assert registry.digest("mautic", one) == one
    asked = [("mautic", "2"), ("mautic", "absent"), ("nginx", "1"), ("mautic", "1")]
    assert registry.digests(asked) == [two, None, None, one]
    # A tag is taken from the image that had it; the same once more changes nothing.
    for _ in range(2):
        registry.tag("mautic", "1", ["2", "latest"])
        assert registry.tags("mautic") == {"1": one, "2": one, "latest": one}
    registry.tag("mautic", one, ["by-digest"])
    assert registry.digest("mautic", "by-digest") == one
    missing = f"there is no image absent in {registry.repository('mautic')}"
    with pytest.raises(RegistryError, match=f"^{missing}$"):
        registry.tag("mautic", "absent", ["x"])
    assert registry.delete_tags("mautic", ["2", "absent", "latest"]) == 2
    assert registry.delete_tags("mautic", ["2", "latest"]) == 0
    assert registry.delete_tags("nowhere", ["1"]) == 0
    assert registry.tags("mautic") == {"1": one, "by-digest": one}


def check_attachments(registry: Registry, push: Push) -> None:
    """Check what is attached to images; arguments as for ``check_registry``."""
    one, two = push("one", "1"), push("two", "2")
    assert registry.attached("mautic", one) == []
    for content in (b"first", b"second"):
        files = [
            Attachment("text/plain", content, {"title": "a"}),
            Attachment("text/html", b"x" * 100_000),
        ]
        registry.attach("mautic", one, files)
        assert registry.attached("mautic", one) == files
    assert registry.attached("mautic", two) == []
    # The image stays what it was.
    assert registry.digest("mautic", "1") == one
    missing = f"there is no image sha256:{'0' * 64} in {registry.repository('mautic')}"
    with pytest.raises(RegistryError, match=f"^{missing}$"):
        registry.attach("mautic", f"sha256:{'0' * 64}", files)


def check_images(registry: Registry, push: Push) -> None:
    """Check the inventory and the removal by digest; arguments as for ``check_registry``."""
    assert registry.stored("mautic") == []
    one, two, three = push("one", "1", "latest"), push("two", "2"), push("three", "3")
    found = {image.digest: image for image in registry.stored("mautic")}
    assert {digest: sorted(image.tags) for digest, image in found.items()} == {
        one: ["1", "latest"],
        two: ["2"],
        three: ["3"],
    }
    assert {image.repository for image in found.values()} == {"mautic"}
    # With all its tags; what is gone already is no error.
    assert registry.delete_images("mautic", [one, three]) == 2
    assert registry.delete_images("mautic", [one, f"sha256:{'0' * 64}"]) == 0
    assert registry.delete_images("mautic", []) == 0
    assert registry.tags("mautic") == {"2": two}
    assert [image.digest for image in registry.stored("mautic")] == [two]


def check_layers(registry: Registry) -> None:
    """Check images of one layer; nobody has put any there."""
    # More than is sent at once.
    layer = bytes(range(256)) * 40_000
    digest = registry.push_layer("seed-images", (layer[:5], layer[5:]))
    assert registry.tags("seed-images") == {}
    assert registry.digest("seed-images", digest) == digest
    assert registry.push_layer("seed-images", [layer]) == digest
    assert registry.push_layer("seed-images", []) != digest
    registry.tag("seed-images", digest, ["seed.1"])
    assert registry.tags("seed-images") == {"seed.1": digest}
