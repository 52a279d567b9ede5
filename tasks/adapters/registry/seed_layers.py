"""Layers of images with a seed's uploads, made of their tar as it comes."""

from __future__ import annotations

import contextlib
import io
import itertools
import tarfile
from collections.abc import Iterable, Iterator

from tasks.core.errors import UnreadableError
from tasks.core.images.seed_image import FOLDERS, SEED

CHUNK_BYTES = 1 << 20
BLOCK_BYTES = tarfile.BLOCKSIZE
EMPTY_LAYER = bytes(2 * BLOCK_BYTES)
"""Of a folder that a seed does not have."""


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


def _folder(member: tarfile.TarInfo) -> str:
    """Return the folder that a file is in.

    Raises:
        UnreadableError: it is none of a seed's.
    """
    folder, _, name = member.name.removeprefix("./").partition("/")
    parts = name.split("/")
    if not member.isreg() or folder not in FOLDERS or {"", ".", ".."} & {*parts}:
        raise UnreadableError(f"{member.name!r} is no file of a seed's uploads")
    if parts[0] == SEED:
        raise UnreadableError(
            f"the seed has {folder}/{SEED}, which shared uploads hide: "
            "its branches need seeds.uploads: copy"
        )
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
