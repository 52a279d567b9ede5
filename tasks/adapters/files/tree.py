"""The files of a project's folders as they are on the disk, and which of them change.

They are looked at again and again: what tells a program of changes does not work on every file
system that a working tree may lie on, and none of it is needed for a few thousand files.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.core.errors import InputError
from tasks.core.working_tree import Link, folders_above

POLL_SECONDS = 0.2
"""How often the folders are looked at."""
SETTLE_SECONDS = 0.05
"""How long a change has to be over: editors and git write several times."""
SHARE = 5
"""The part of the time that looking may take is one of so many."""
LINKS_DEEP = 3
"""Behind how many links copies are shown, as docker/nginx/select-static.sh makes them."""
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL}
"""Of a path that is no more what it was: there is nothing, a link, or something that is none."""

Stamp = tuple[int, int, int, int]
"""The time of change, size, inode and mode of a file or link: one differs after each writing."""


@dataclass(frozen=True)
class Rules:
    """What of the folders is shown: what the images would get of them.

    Paths begin with what their folder is called.

    Attributes:
        place_of: returns what a file is called, by its folder's name and its path in there; empty
            for one that is left out.
        is_passed_over: returns whether files and folders of a name are left out.
        is_served: returns whether a place is one of which copies are shown, not links.
        taken: returns those of some files and links that the images get.
        leads_to: returns where a link leads, None if it is left out; InputError if the images,
            which get all these files, links and folders, do not get that.
    """

    place_of: Callable[[str, str], str]
    is_passed_over: Callable[[str], bool]
    is_served: Callable[[str], bool]
    taken: Callable[[Collection[str]], Collection[str]]
    leads_to: Callable[[str, Collection[str]], str | None]


class WorkingTree:
    """The files and links of some folders; what a link leads to is itself one of these files.

    Args:
        folders: the folders, by what they are called.
        rules: what of them is shown.
        warn: called with why a link is left out, once.
    """

    def __init__(
        self, folders: Mapping[str, Path], rules: Rules, warn: Callable[[str], None]
    ) -> None:
        self._folders = folders
        self._rules = rules
        self._warn = warn
        self._found: dict[str, Stamp] = {}
        self._shown: dict[str, Stamp] = {}
        self._paths: dict[str, Path] = {}
        self._refused: set[str] = set()

    def contents(self) -> dict[str, bytes]:
        """Return the content of each file and link, by its place; changes count from here on."""
        self._found = self._scan()
        self._shown = self._choose()
        read = {place: self.read(place) for place in self._shown}
        return {place: content for place, content in read.items() if content is not None}

    def read(self, place: str) -> bytes | None:
        """Return a file's content, or where a link leads, or None if it is gone."""
        if place not in self._shown:
            return None
        path = self._paths[place]
        try:
            if stat.S_ISLNK(self._shown[place][-1]):
                return Link(os.fsencode(path.readlink()))
            # What has become a link since is none of the project's files.
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:  # noqa: PTH123
                return file.read()
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise

    def changed(self) -> set[str]:
        """Return the places of files that have changed since the last time, once they are still.

        It takes a moment where nothing has changed.
        """
        started = time.monotonic()
        now = self._scan()
        if now == self._found:
            time.sleep(max(POLL_SECONDS, SHARE * (time.monotonic() - started)))
            return set()
        while True:
            time.sleep(SETTLE_SECONDS)
            before, now = now, self._scan()
            if before == now:
                break
        self._found, shown = now, self._shown
        self._shown = self._choose()
        return {place for place, _ in shown.items() ^ self._shown.items()}

    def _choose(self) -> dict[str, Stamp]:
        """Return what is shown of what was found, by its place."""
        taken = set(self._rules.taken(self._found.keys())) & self._found.keys()
        links = {path for path in taken if stat.S_ISLNK(self._found[path][-1])}
        shown = {}
        for path, source in self._sources(self._ways(links, taken), taken - links).items():
            if place := self._rules.place_of(*self._split(path)):
                folder, inner = self._split(source)
                self._paths[place] = self._folders[folder] / inner
                shown[place] = self._found[source]
        return shown

    def _split(self, path: str) -> tuple[str, str]:
        folder = next(name for name in self._folders if path.startswith(f"{name}/"))
        return folder, path.removeprefix(f"{folder}/")

    def _sources(self, ways: Mapping[str, str], files: Collection[str]) -> dict[str, str]:
        """Return what is shown, copies among it, and the file or link that each is.

        A link is kept as such where none is needed, and where what it leads to is the release's.
        """
        served = {
            link: way
            for link, way in ways.items()
            if self._rules.is_served(self._rules.place_of(*self._split(link)))
            # Otherwise it has no end.
            and not link.startswith(f"{way}/")
        }
        found = {path: path for path in files}
        for _ in range(LINKS_DEEP):
            found |= {
                link + path.removeprefix(way): source
                for link, way in served.items()
                for path, source in found.items()
                if f"{path}/".startswith(f"{way}/")
            }
        copied = {link for link in served if any(f"{x}/".startswith(f"{link}/") for x in found)}
        return found | {link: link for link in ways.keys() - copied}

    def _ways(self, links: Collection[str], taken: Collection[str]) -> dict[str, str]:
        """Return where links lead that the images get, and tell of the others."""
        ways = {}
        roots = (root for root in self._folders.values() if root.is_symlink())
        reasons = [f"{root} is a link: it is left out" for root in roots]
        got = folders_above(taken).union(taken)
        for link in sorted(links):
            try:
                way = self._rules.leads_to(link, got)
            except InputError as error:
                reasons.append(f"{error.message}: it is left out, and a build refuses it")
                continue
            if way is not None:
                ways[link] = way
        for reason in reasons:
            if reason not in self._refused:
                self._warn(reason)
        self._refused = set(reasons)
        return ways

    def _scan(self) -> dict[str, Stamp]:
        found = {}
        for folder, root in self._folders.items():
            if root.is_symlink():
                continue
            for path, entry in self._below(str(root), ""):
                if not self._rules.place_of(folder, path):
                    continue
                try:
                    seen = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # it is gone again
                stamp = (seen.st_ctime_ns, seen.st_size, seen.st_ino, seen.st_mode)
                found[f"{folder}/{path}"] = stamp
        return found

    def _below(self, folder: str, path: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return  # gone again
        for entry in entries:
            if self._rules.is_passed_over(entry.name):
                continue
            name = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(entry.path, name)
            elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                yield name, entry
