"""Seeds in a prefix of an S3 bucket."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tasks.adapters.aws.session import Aws
from tasks.adapters.seed_store import CHUNK_BYTES, SeedStore, no_such_part

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


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
                raise no_such_part(id_, name, self) from error
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

    def readinto(self, buffer: WriteableBuffer) -> int:
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
