"""Puts a seed's uploads into an environment's registry, once, as images for its branches."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from tasks.adapters.registry.seed_layers import EMPTY_LAYER, layers
from tasks.core.errors import UnreadableError
from tasks.core.images.seed_image import FOLDERS, REPOSITORIES, tag_of
from tasks.flows.registry_port import Registry


def find_images(registry: Registry, id_: str) -> dict[str, str]:
    """Return the images of a seed's uploads by digest, by folder; none unless all are there.

    Raises:
        RegistryError: the registry cannot be reached, refused or failed.
        AwsError: AWS refused, or cannot be reached.
    """
    found = registry.digests([(REPOSITORIES[folder], tag_of(id_)) for folder in FOLDERS])
    there = {
        folder: digest for folder, digest in zip(FOLDERS, found, strict=True) if digest is not None
    }
    return _references(registry, there)


def push_images(registry: Registry, id_: str, sha256: str, tar: Iterable[bytes]) -> dict[str, str]:
    """Put images of a seed's uploads into a registry, and return them as ``find_images`` does.

    What comes passes through this run; nothing of it is kept. They get their tags once all of them
    are there and right.

    Args:
        registry: the environment's.
        id_: the seed's.
        sha256: of the tar, as the seed's manifest has it.
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
    if hashed.digest() != sha256:
        raise UnreadableError(f"the uploads of seed {id_} are not what its manifest says")
    for folder in FOLDERS:
        if folder not in made:
            made[folder] = registry.push_layer(REPOSITORIES[folder], [EMPTY_LAYER])
        registry.tag(REPOSITORIES[folder], made[folder], [tag_of(id_)])
    return _references(registry, made)


def _references(registry: Registry, digests: Mapping[str, str]) -> dict[str, str]:
    """Return images by digest, by folder; none unless all are there."""
    if set(digests) != set(FOLDERS):
        return {}
    return {
        folder: registry.reference(REPOSITORIES[folder], digest)
        for folder, digest in digests.items()
    }


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
