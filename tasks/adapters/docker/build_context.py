"""What a builder reads from disk for a bake target: its Dockerfile and its contexts.

File modes are ignored: the Dockerfiles set those of the images. Empty folders are ignored, too: git
does not track them, and the Dockerfiles do not copy them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tasks.core.errors import InputError
from tasks.core.images.bake_file import build_folders
from tasks.core.images.content_key import MAIN, BakeTarget, Sources
from tasks.core.images.ignore_file import IgnoreFile


@dataclass(frozen=True)
class BuildContext:
    """A folder that is sent to a builder as a build context.

    Attributes:
        root: the folder that its path is relative to.
        folder: its path.
        ignore_file: path of its ignore file, which need not exist.
    """

    root: Path
    folder: str
    ignore_file: Path

    @cached_property
    def ignore(self) -> IgnoreFile:
        """What is left out.

        Raises:
            InputError: the ignore file cannot be used.
        """
        if not self.ignore_file.is_file():
            return IgnoreFile("")
        try:
            return IgnoreFile(self.ignore_file.read_text(errors="surrogateescape"))
        except InputError as error:
            error.message = f"{self.ignore_file}: {error.message}"
            raise

    def paths(self) -> Iterator[str]:
        """Yield the files and links that the builder gets, relative to the folder, sorted.

        Raises:
            InputError: an entry cannot be read; or is neither a file, nor a folder, nor a link to
                something that the builder gets as well.
        """
        yield from self._below("")

    def _below(self, folder: str) -> Iterator[str]:
        place = self.root / self.folder
        try:
            entries = sorted(os.scandir(place / folder), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{place / folder} cannot be read: {error.strerror}") from error
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not self.ignore.prunes(path):
                    yield from self._below(path)
            elif not self.ignore.leaves_out(path):
                if entry.is_symlink():
                    self._check_link(path)
                elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    raise InputError(f"{place / path} is neither a file nor a folder nor a link")
                yield path

    def _check_link(self, path: str) -> None:
        place = self.root / self.folder
        target = str((place / path).readlink())
        if _is_circular(place / path):
            raise InputError(
                f"{Path(self.folder) / path} is a link to {target}, and leads to itself"
            )
        written = os.path.normpath(Path(path).parent / target)
        real = os.path.relpath(os.path.realpath(place / path), os.path.realpath(place))
        is_outside = any(
            way.split("/")[0] == ".." or way.startswith("/") for way in (written, real)
        )
        leads_to = place / real
        if not is_outside and real != ".":
            is_outside = (
                self.ignore.prunes(real)
                if leads_to.is_dir()
                else leads_to.exists() and self.ignore.leaves_out(real)
            )
        if is_outside:
            raise InputError(
                f"{Path(self.folder) / path} is a link to {target}, which is not in the image",
                hint="put there what it leads to; a link may lead, by a relative path, to what "
                f"the images get of {self.folder}, too",
            )


@dataclass(frozen=True)
class BuiltFrom:
    """All that the images of a bake file are built from.

    Attributes:
        contexts: the folders.
        files: the existing files that define the build: bake file, Dockerfiles, ignore files.
    """

    contexts: tuple[BuildContext, ...]
    files: frozenset[str]

    def paths(self) -> frozenset[str]:
        """Return the files and links, relative to the root.

        Raises:
            InputError: as for ``BuildContext.paths``.
        """
        return self.files.union(
            os.path.normpath(f"{context.folder}/{path}")
            for context in self.contexts
            for path in context.paths()
        )

    def holds(self, path: str) -> bool:
        """Return True if the builder would get a file at that path, relative to the root."""
        return path in self.files or any(
            _is_below(path, context.folder)
            and not context.ignore.leaves_out(path.removeprefix(f"{context.folder}/"))
            for context in self.contexts
        )


def built_from(root: Path, bake_file: str) -> BuiltFrom:
    """Return what the images of a bake file are built from.

    Args:
        root: the folder that its paths are relative to.
        bake_file: its path.
    """
    text = (root / bake_file).read_text()
    found = sorted(build_folders(text), key=str)
    files = {bake_file}
    contexts = []
    for place in found:
        if not (root / place.folder).is_dir():
            continue  # the build says so
        context = _context(root, place.folder, place.dockerfile)
        contexts.append(context)
        named = [root / place.folder / place.dockerfile] if place.dockerfile else []
        files |= {
            os.path.relpath(file, root) for file in (*named, context.ignore_file) if file.exists()
        }
    return BuiltFrom(tuple(contexts), frozenset(files))


def read(root: Path, name: str, target: BakeTarget) -> Sources:
    """Return what the builder reads for a target.

    Args:
        root: the folder that the bake file's paths are relative to.
        name: the target's name, for errors.

    Raises:
        InputError: a context or Dockerfile does not exist, or is not on this machine; or a context
            holds something that cannot be built from.
    """
    folders = {MAIN: str(target.get("context", "."))}
    for context, place in (target.get("contexts") or {}).items():
        if not place.startswith("target:"):
            folders[context] = place
    for context, place in folders.items():
        if "://" in place:
            raise InputError(
                f"target {name}: the context {context} is not on this machine: {place}",
                hint="name a base image by a build argument that ends in _IMAGE",
            )
        if not (root / place).is_dir():
            raise InputError(f"target {name}: there is no folder {place}")
    inline = target.get("dockerfile-inline")
    named = str(target.get("dockerfile", "Dockerfile"))
    dockerfile = root / folders[MAIN] / named
    if inline is None and not dockerfile.is_file():
        raise InputError(f"target {name}: there is no file {dockerfile}")
    text = inline.encode() if inline is not None else dockerfile.read_bytes()
    return Sources(
        dockerfile=hashlib.sha256(text).hexdigest(),
        contexts={
            context: _entries(_context(root, place, named if context == MAIN else None))
            for context, place in folders.items()
        },
    )


def _context(root: Path, folder: str, dockerfile: str | None) -> BuildContext:
    place = root / folder
    own = place / f"{dockerfile}.dockerignore"
    return BuildContext(
        root, folder, own if dockerfile and own.is_file() else place / ".dockerignore"
    )


def _is_circular(link: Path) -> bool:
    """Return True if following a link never ends."""
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _is_below(path: str, folder: str) -> bool:
    return folder in {"", "."} or path.startswith(f"{folder}/")


def _entries(context: BuildContext) -> dict[str, str]:
    place = context.root / context.folder
    return {path: _entry(place / path) for path in context.paths()}


def _entry(path: Path) -> str:
    """Return the kind of a file, and its hash or a link's target."""
    if path.is_symlink():
        return f"link {path.readlink()}"
    try:
        with path.open("rb") as file:
            return f"file {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
