"""The files of a project's folders as they are on the disk, and which of them change.

They are looked at again and again: what tells a program of changes does not work on every file
system that a working tree may lie on, and none of it is needed for a few thousand files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

POLL_SECONDS = 0.2
"""How often the folders are looked at."""
SETTLE_SECONDS = 0.05
"""How long a change has to be over: editors and git write several times."""
SHARE = 5
"""The part of the time that looking may take is one of so many."""

Stamp = tuple[int, int, int]
"""A file's time of change, size and inode: one of them differs after each writing."""


class WorkingTree:
    """The files of some folders.

    Args:
        folders: the folders, by what they are called.
        place_of: returns what a file is called, by its folder's name and its path in there; empty
            for one that is left out.
        is_passed_over: returns whether files and folders of a name are left out.
    """

    def __init__(
        self,
        folders: Mapping[str, Path],
        place_of: Callable[[str, str], str],
        is_passed_over: Callable[[str], bool],
    ) -> None:
        self._folders = folders
        self._place_of = place_of
        self._is_passed_over = is_passed_over
        self._paths: dict[str, Path] = {}
        self._stamps: dict[str, Stamp] = {}

    def contents(self) -> dict[str, bytes]:
        """Return the content of each file, by its place; changes count from here on."""
        self._stamps = self._scan()
        read = {place: self.read(place) for place in self._stamps}
        return {place: content for place, content in read.items() if content is not None}

    def read(self, place: str) -> bytes | None:
        """Return a file's content, or None if it is gone."""
        try:
            return self._paths[place].read_bytes()
        except (KeyError, FileNotFoundError, NotADirectoryError):
            return None

    def changed(self) -> set[str]:
        """Return the places of files that have changed since the last time, once they are still.

        It takes a moment where nothing has changed.
        """
        started = time.monotonic()
        now = self._scan()
        if now == self._stamps:
            time.sleep(max(POLL_SECONDS, SHARE * (time.monotonic() - started)))
            return set()
        while True:
            time.sleep(SETTLE_SECONDS)
            before, now = now, self._scan()
            if before == now:
                break
        found = {place for place, _ in self._stamps.items() ^ now.items()}
        self._stamps = now
        return found

    def _scan(self) -> dict[str, Stamp]:
        stamps = {}
        for folder, root in self._folders.items():
            for path, entry in self._below(str(root), ""):
                place = self._place_of(folder, path)
                # A link counts as what it leads to.
                try:
                    found = entry.stat()
                except OSError:
                    continue  # it leads nowhere, or is gone again
                if place:
                    self._paths[place] = Path(entry.path)
                    stamps[place] = (found.st_ctime_ns, found.st_size, found.st_ino)
        return stamps

    def _below(self, folder: str, path: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return  # gone again
        for entry in entries:
            if self._is_passed_over(entry.name):
                continue
            name = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(entry.path, name)
            elif entry.is_file():
                yield name, entry
