"""What is attached to an image in its registry: files in a manifest of their own.

The manifest names the image as its subject, so a registry with the referrers API lists it
(https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers), and
ECR removes it with the image. It also has the tag ``sha256-<digits>.att``, where cosign looks, and
where it is found in every registry. The image and its digest stay as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.core.errors import RegistryError

if TYPE_CHECKING:
    from tasks.adapters.registry.oci import OciRegistry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"
"""What stands for the config of a manifest that is no image: image specification, "Guidance for
an Empty Descriptor"."""

SIZE_MAX = 32 * 1024 * 1024
"""Bytes of one attached file, at most: a bill of materials has well below one million."""


@dataclass(frozen=True)
class Attachment:
    """One attached file.

    Attributes:
        kind: its media type.
        annotations: what its manifest says of it.
    """

    kind: str
    content: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)


def attachment_tag(digest: str) -> str:
    """Return the tag of what is attached to an image."""
    return f"{digest.replace(':', '-')}.att"


def attach(
    registry: OciRegistry, repository: str, digest: str, attachments: Sequence[Attachment]
) -> None:
    """Attach files to an image, in place of those that were attached to it before.

    Raises:
        RegistryError: there is no such image, or the registry cannot be reached, refused or failed.
    """
    kind, image = registry.manifest(repository, digest)
    layers = [
        _descriptor(one.kind, one.content) | {"annotations": dict(one.annotations)}
        for one in attachments
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": attachments[0].kind,
        "config": _descriptor(_EMPTY_TYPE, _EMPTY),
        "layers": layers,
        "subject": {"mediaType": kind, "digest": digest, "size": len(image)},
    }
    for content in (_EMPTY, *(one.content for one in attachments)):
        registry.put_blob(repository, content)
    written = json.dumps(manifest).encode()
    registry.put_manifest(repository, attachment_tag(digest), written, MANIFEST)


def attached(registry: OciRegistry, repository: str, digest: str) -> list[Attachment]:
    """Return the files that are attached to an image; none if nothing ever was.

    Raises:
        RegistryError: what is there cannot be read; or the registry cannot be reached, refused or
            failed.
    """
    tag = attachment_tag(digest)
    if registry.digest(repository, tag) is None:
        return []
    _, written = registry.manifest(repository, tag)
    try:
        layers: list[dict[str, Any]] = json.loads(written)["layers"]
        found = [
            (str(one["mediaType"]), str(one["digest"]), int(one["size"]), one.get("annotations"))
            for one in layers
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(registry, repository, tag, f"its manifest: {error}") from error
    attachments = []
    for kind, place, size, notes in found:
        if size > SIZE_MAX:
            raise _unreadable(registry, repository, tag, f"a file of {size} bytes")
        content = registry.blob(repository, place)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != place:
            raise _unreadable(registry, repository, tag, f"{place} has another content")
        attachments.append(Attachment(kind, content, dict(notes or {})))
    return attachments


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def _unreadable(registry: OciRegistry, repository: str, tag: str, why: str) -> RegistryError:
    return RegistryError(
        f"what is attached to an image cannot be read: {registry.repository(repository)}:{tag}: "
        f"{why}",
        hint="build it anew: inv build",
    )
