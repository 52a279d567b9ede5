"""Where seeds are kept: a folder of this machine, or a prefix of an S3 bucket.

Both keep a file ``<id>/<name>`` for each part of a seed. A part appears whole or not at all.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.aws.session import Aws
from tasks.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Buffer

CHUNK_BYTES = 1 << 20


class SeedStore(ABC):
    """Keeps the parts of seeds below their ids."""

    @abstractmethod
    def parts(self) -> dict[str, set[str]]:
        """Return the names of the parts that are kept, by id.

        Raises:
            SuiteError: they cannot be listed.
        """

    @abstractmethod
    def write(self, id_: str, name: str, chunks: Iterable[bytes]) -> None:
        """Keep a part; whatever ``chunks`` raises leaves none.

        Raises:
            SuiteError: it cannot be kept.
        """

    @abstractmethod
    def read(self, id_: str, name: str) -> Iterator[bytes]:
        """Yield a part's content.

        Raises:
            InputError: there is no such part.
            SuiteError: it cannot be read.
        """

    @abstractmethod
    def remove(self, id_: str, names: Sequence[str]) -> None:
        """Remove parts in this order; those that are gone already count as removed.

        Raises:
            SuiteError: one cannot be removed.
        """


class SeedFolder(SeedStore):
    """A folder, which is made with the first seed; nobody else may look into it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def parts(self) -> dict[str, set[str]]:
        """Return what lies there by id, but for files that are being written."""
        found: dict[str, set[str]] = {}
        for path in self._root.glob("*/[!.]*"):
            found.setdefault(path.parent.name, set()).add(path.name)
        return found

    def write(self, id_: str, name: str, chunks: Iterable[bytes]) -> None:
        """Write a file beside its place, and move it there."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._root / id_
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix=f".{name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(descriptor)
            Path(unfinished).replace(folder / name)
        except BaseException:
            Path(unfinished).unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
            raise

    def read(self, id_: str, name: str) -> Iterator[bytes]:
        """Yield a file, a chunk at a time."""
        try:
            file = (self._root / id_ / name).open("rb")
        except FileNotFoundError as error:
            raise _missing(id_, name, self) from error
        with file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def remove(self, id_: str, names: Sequence[str]) -> None:
        """Remove files, and their folder with whatever a killed run has left in it."""
        for name in names:
            (self._root / id_ / name).unlink(missing_ok=True)
        shutil.rmtree(self._root / id_, ignore_errors=True)


class SeedBucket(SeedStore):
    """A prefix of a bucket.

    Args:
        aws: credentials that may list, read, write and delete there.
        bucket: its name.
        prefix: without a slash at either end; may be empty.
    """

    def __init__(self, aws: Aws, bucket: str, prefix: str) -> None:
        self._aws = aws
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def parts(self) -> dict[str, set[str]]:
        """Return the objects below the prefix by id."""
        found: dict[str, set[str]] = {}
        pages = self._client.get_paginator("list_objects_v2")
        with self._aws.calling():
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for one in page.get("Contents", ()):
                    id_, _, name = str(one["Key"]).removeprefix(self._prefix).partition("/")
                    found.setdefault(id_, set()).add(name)
        return found

    def write(self, id_: str, name: str, chunks: Iterable[bytes]) -> None:
        """Upload an object, in parts where it is large."""
        from boto3.exceptions import S3UploadFailedError

        key = self._key(id_, name)
        with self._aws.calling():
            try:
                self._client.upload_fileobj(_Chunks(chunks), self._bucket, key)
            except S3UploadFailedError as error:
                # Raised from what S3 said, which says more.
                raise error.__context__ or error from error

    def read(self, id_: str, name: str) -> Iterator[bytes]:
        """Yield an object, a chunk at a time."""
        client = self._client
        with self._aws.calling():
            try:
                found = client.get_object(Bucket=self._bucket, Key=self._key(id_, name))
            except client.exceptions.NoSuchKey as error:
                raise _missing(id_, name, self) from error
            yield from found["Body"].iter_chunks(CHUNK_BYTES)

    def remove(self, id_: str, names: Sequence[str]) -> None:
        """Delete objects."""
        with self._aws.calling():
            for name in names:
                self._client.delete_object(Bucket=self._bucket, Key=self._key(id_, name))

    @property
    def _client(self) -> Any:
        return self._aws.client("s3")

    def _key(self, id_: str, name: str) -> str:
        return f"{self._prefix}{id_}/{name}"


class _Chunks(io.RawIOBase):
    """An iterable of bytes as the file that boto3 reads from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(view), len(self._rest))
        view[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _missing(id_: str, name: str, store: SeedStore) -> InputError:
    return InputError(f"{store} has no {name} of seed {id_}", hint="`inv db.seeds` lists them")
