"""Images with a seed's uploads: one for each folder, whose root is that folder.

Branches mount them as image volumes. One for each, since a part of an image is nothing that every
runtime can mount: containerd before 2.2 takes all of it in its place, in silence. A layer is a tar
of plain files, not compressed, as pictures are that already; the same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FOLDERS = ("dashboards", "images", "files")
"""In the order in which a seed has them (docker/mautic/php/seed_uploads.php)."""
SEED = "seed"
"""The folder in a branch's own where they are mounted (docker/mautic/php/media.php)."""
REPOSITORIES = {folder: f"seed-{folder}" for folder in FOLDERS}
"""Where the images are, below the place of an environment's others."""

_TAG = re.compile(r"seed\.[0-9]{8}t[0-9]{6}")


@dataclass(frozen=True)
class Layer:
    """A layer, as a registry has stored it.

    Attributes:
        digest: ``sha256:…``.
        size: bytes.
    """

    digest: str
    size: int


@dataclass(frozen=True)
class SeedImage:
    """An image of one layer.

    Attributes:
        config: its configuration.
        manifest: its manifest.
    """

    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """Of its manifest."""
        return _digest(self.manifest)


def tag_of(id_: str) -> str:
    """Return the tag of a seed's images."""
    return f"seed.{id_}"


def is_seed_tag(tag: str) -> bool:
    """Return True if a tag is of a seed's images."""
    return bool(_TAG.fullmatch(tag))


def image_of(layer: Layer) -> SeedImage:
    """Return the image of one layer."""
    rootfs = {"type": "layers", "diff_ids": [layer.digest]}
    config = _json({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs})
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": _digest(config), "size": len(config)},
        "layers": [{"mediaType": LAYER, "digest": layer.digest, "size": layer.size}],
    }
    return SeedImage(config, _json(manifest))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
