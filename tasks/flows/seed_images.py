"""Puts a seed's uploads into an environment's registry, once, as images for its branches."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from tasks.adapters.registry.seed_layers import EMPTY_LAYER, layers
from tasks.core.errors import UnreadableError
from tasks.core.images.seed_image import FOLDERS
from tasks.core.seeds import Seed
from tasks.flows.registry_port import Registry

REPOSITORIES = {folder: f"seed-{folder}" for folder in FOLDERS}
"""Where the images are, below the place of the environment's others."""


def find_images(registry: Registry, seed: Seed) -> dict[str, str]:
    """Return the images of a seed's uploads by digest, by folder; none unless all are there.

    Raises:
        RegistryError: the registry cannot be reached, refused or failed.
        AwsError: AWS refused, or cannot be reached.
    """
    tag = _tag(seed)
    found = registry.digests([(REPOSITORIES[folder], tag) for folder in FOLDERS])
    there = {
        folder: digest for folder, digest in zip(FOLDERS, found, strict=True) if digest is not None
    }
    return _references(registry, there)


def push_images(registry: Registry, seed: Seed, tar: Iterable[bytes]) -> dict[str, str]:
    """Put images of a seed's uploads into a registry, and return them as ``find_images`` does.

    What comes passes through this run; nothing of it is kept. They get their tags once all of them
    are there and right.

    Args:
        registry: the environment's.
        seed: a seed with uploads.
        tar: the uploads, decrypted.

    Raises:
        UnreadableError: they are not what the seed's manifest says.
        RegistryError: the registry cannot be reached, refused or failed.
        AwsError: AWS refused, or cannot be reached.
    """
    hashed = _Hashed(tar)
    registry.make(registry.missing(sorted(REPOSITORIES.values())))
    made = {
        folder: registry.push_layer(REPOSITORIES[folder], layer) for folder, layer in layers(hashed)
    }
    # What is behind the last file counts as well.
    deque(hashed, maxlen=0)
    if seed.uploads is None or hashed.digest() != seed.uploads.tar_sha256:
        raise UnreadableError(f"the uploads of seed {seed.id} are not what its manifest says")
    for folder in FOLDERS:
        if folder not in made:
            made[folder] = registry.push_layer(REPOSITORIES[folder], [EMPTY_LAYER])
        registry.tag(REPOSITORIES[folder], made[folder], [_tag(seed)])
    return _references(registry, made)


def _references(registry: Registry, digests: Mapping[str, str]) -> dict[str, str]:
    """Return images by digest, by folder; none unless all are there."""
    if set(digests) != set(FOLDERS):
        return {}
    return {
        folder: registry.reference(REPOSITORIES[folder], digest)
        for folder, digest in digests.items()
    }


def _tag(seed: Seed) -> str:
    return f"seed.{seed.id}"


class _Hashed:
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts, self._hash = iter(parts), hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = next(self._parts)
        self._hash.update(part)
        return part

    def digest(self) -> str:
        return self._hash.hexdigest()
