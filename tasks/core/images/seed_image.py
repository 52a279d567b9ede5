"""Images with a seed's uploads: one for each folder, whose root is that folder.

Branches mount them as image volumes. One for each, since a part of an image is nothing that every
runtime can mount: containerd before 2.2 takes all of it in its place, in silence. A layer is a tar
of plain files, not compressed, as pictures are that already; the same seed gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.core.errors import UnreadableError

CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FOLDERS = ("dashboards", "images", "files")
"""In the order in which a seed has them (docker/mautic/php/seed_uploads.php)."""
CHUNK_BYTES = 1 << 20
BLOCK_BYTES = tarfile.BLOCKSIZE
EMPTY_LAYER = bytes(2 * BLOCK_BYTES)
"""Of a folder that a seed does not have."""


@dataclass(frozen=True)
class Layer:
    """A layer, as a registry has stored it.

    Attributes:
        digest: ``sha256:…``.
        size: bytes.
    """

    digest: str
    size: int


def layers(uploads: Iterable[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield for each folder of a seed's uploads its name and a layer, in their order.

    Each layer has to be read before the next one is asked for: neither is held in memory.

    Args:
        uploads: the tar of a seed's uploads.

    Raises:
        UnreadableError: it is no such tar, or was cut off in the midst of a file. Whether all files
            have come, its checksum tells.
    """
    with _reading(), tarfile.open(fileobj=_Reader(uploads), mode="r|") as archive:
        for folder, members in itertools.groupby(archive, _folder):
            yield folder, _layer(archive, members)


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


def _folder(member: tarfile.TarInfo) -> str:
    """Return the folder that a file is in.

    Raises:
        UnreadableError: it is none of a seed's.
    """
    folder, _, name = member.name.removeprefix("./").partition("/")
    parts = name.split("/")
    if not member.isreg() or folder not in FOLDERS or {"", ".", ".."} & {*parts}:
        raise UnreadableError(f"{member.name!r} is no file of a seed's uploads")
    return folder


def _layer(archive: tarfile.TarFile, members: Iterable[tarfile.TarInfo]) -> Iterator[bytes]:
    """Yield a tar of files, readable by everybody and owned by nobody in particular."""
    with _reading():
        for member in members:
            file = tarfile.TarInfo(member.name.removeprefix("./").partition("/")[2])
            file.size, file.mtime, file.mode = member.size, member.mtime, 0o644
            yield file.tobuf(tarfile.PAX_FORMAT)
            content = archive.extractfile(member)
            assert content, "it is a plain file"  # noqa: S101 - for the type
            while chunk := content.read(CHUNK_BYTES):
                yield chunk
            yield bytes(-member.size % BLOCK_BYTES)
    yield EMPTY_LAYER


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError) as error:
        raise UnreadableError(f"the seed's uploads cannot be read: {error}") from error


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


class _Reader(io.RawIOBase):
    """A file of what comes part by part."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        """Return as many bytes, or fewer at the end."""
        found = [self._left]
        length = len(self._left)
        while size < 0 or length < size:
            part = next(self._parts, None)
            if part is None:
                break
            found.append(part)
            length += len(part)
        whole = b"".join(found)
        if size < 0:
            size = length
        self._left = whole[size:]
        return whole[:size]
