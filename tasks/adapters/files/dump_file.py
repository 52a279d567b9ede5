"""A dump as a file: a ZIP that is written, and read, as a stream."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tasks.adapters.files.new_file import check_new
from tasks.core.dump_manifest import (
    DATABASE,
    MANIFEST,
    UPLOADS,
    Manifest,
    Member,
    measure,
    read_manifest,
)
from tasks.core.errors import InputError, SuiteError, UnreadableError

CHUNK_BYTES = 1 << 20
UNFINISHED = ".unfinished"
"""The end of the name that a dump has until it is whole."""


class DumpWriter:
    """Writes the files of a dump, one after the other."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._open: IO[bytes] | None = None
        self.members: dict[str, Member] = {}

    @contextlib.contextmanager
    def member(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Yield what takes a file's bytes; what they were is in ``members`` afterwards."""
        digest, size = hashlib.sha256(), 0
        # Its size is not known before: it may be more than 4 GiB.
        with self._archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
            self._open = file

            def take(data: bytes) -> None:
                nonlocal size
                file.write(data)
                digest.update(data)
                size += len(data)

            yield take
        self.members[name] = Member(size, digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which is the last file."""
        self._archive.writestr(MANIFEST, manifest.to_json())

    def close(self) -> None:
        """Write the archive's table of contents."""
        self._archive.close()

    def abandon(self) -> None:
        """Let go of what is not whole.

        An interrupt may come while a file in it is being opened. zipfile then refuses to close the
        archive, also when it is collected, unless it has no file.
        """
        if self._open:
            with contextlib.suppress(OSError):
                self._open.close()
        self._archive.fp = None


@contextlib.contextmanager
def new_dump(path: Path) -> Iterator[DumpWriter]:
    """Write a dump, of mode 0600; it has its name once it is whole.

    What one of the same name that was killed has left goes.

    Raises:
        InputError: as ``check_new``.
        SuiteError: it cannot be written.
    """
    check_new(path)
    path = path.resolve()  # a link stays one
    try:
        remove_unfinished(path.parent, path.name)
        handle, name = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
    except OSError as error:
        raise SuiteError(f"{path} cannot be written: {error.strerror}") from error
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            writer = DumpWriter(zipfile.ZipFile(file, "w"))
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.abandon()
                raise
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise SuiteError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        fresh.unlink(missing_ok=True)


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Remove what dumps that were killed have left in a folder; they are as secret as whole ones.

    Args:
        name: of which dump; empty for all.

    Raises:
        OSError: one cannot be removed.
    """
    for path in folder.glob(f".{glob.escape(name) or '*'}.*{UNFINISHED}"):
        with path.open("rb") as file, contextlib.suppress(BlockingIOError):
            # Whoever still writes it holds it.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)


class DumpFile:
    """A dump that is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def manifest(self) -> Manifest:
        """Return what it says of itself.

        Raises:
            InputError: there is no such file, or it is no dump.
            UnreadableError: it is damaged.
        """
        self._require_file()
        try:
            with zipfile.ZipFile(self.path) as archive:
                is_dump = archive.namelist() == [DATABASE, UPLOADS, MANIFEST]
        except zipfile.BadZipFile:
            is_dump = False
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}") from error
        if not is_dump:
            raise InputError(
                f"{self.path} is no dump of this suite, or is cut off",
                hint="inv db.dump writes one; seed:ID is a seed (inv db.seed --list)",
            )
        with self._open() as archive:
            return read_manifest(archive.read(MANIFEST))

    def _require_file(self) -> None:
        """Check that there is a file: of a device or a pipe nobody knows the end.

        Raises:
            InputError: there is none.
        """
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError as error:
            raise InputError(f"there is no file {self.path}") from error
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
            raise InputError(
                f"{self.path} is no file but {what}",
                hint="give a file that inv db.dump has written",
            )

    def check(self, manifest: Manifest) -> None:
        """Read all of it, and compare it with its manifest.

        Raises:
            UnreadableError: it differs.
        """
        for name, expected in manifest.members.items():
            if measure(self.read(name)) != expected:
                raise UnreadableError(
                    f"{self.path} is damaged: {name} has not the checksum of its manifest"
                )

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file in it.

        Raises:
            UnreadableError: it is damaged.
        """
        with self._open() as archive, archive.open(name) as file:
            while data := file.read(CHUNK_BYTES):
                yield data

    @contextlib.contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise UnreadableError(f"{self.path} cannot be read: {error}") from error
