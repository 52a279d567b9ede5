"""Where seeds are kept: a folder of this machine, or a bucket (``tasks.adapters.aws``).

Each keeps a file ``<id>/<name>`` for each part of a seed. A part appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tasks.core.errors import InputError

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
        """Return what lies there by id; a file that is being written by a name around its own."""
        found: dict[str, set[str]] = {}
        for path in self._root.glob("*/*"):
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
            raise no_such_part(id_, name, self) from error
        with file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def remove(self, id_: str, names: Sequence[str]) -> None:
        """Remove files, and their folder with whatever a killed run has left in it."""
        for name in names:
            (self._root / id_ / name).unlink(missing_ok=True)
        shutil.rmtree(self._root / id_, ignore_errors=True)


def no_such_part(id_: str, name: str, store: SeedStore) -> InputError:
    """Return the error for a part that is not kept."""
    return InputError(
        f"{store} has no {name} of seed {id_}", hint="`inv db.seed --list` shows them"
    )
