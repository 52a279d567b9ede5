"""What a builder reads from disk for a bake target: its Dockerfile and its contexts.

File modes are ignored: the Dockerfiles set those of the images. Empty folders are ignored, too: git
does not track them, and the Dockerfiles do not copy them.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from tasks.core.errors import InputError
from tasks.core.images.bake_file import build_folders
from tasks.core.images.content_key import MAIN, BakeTarget, Sources
from tasks.core.images.ignore_file import IgnoreFile
from tasks.core.images.links import EndlessLinkError, followed
from tasks.core.project_files import moved


@dataclass(frozen=True)
class BuildContext:
    """A folder that is sent to a builder as a build context.

    Attributes:
        root: the folder that its path is relative to.
        folder: its path.
        ignore_file: path of its ignore file, which need not exist.
        folders: folders below the root, and where the project has them: what errors name.
        in_place: whether the project's files lie in these folders; otherwise the root is the
            project, which has them where it has them.
    """

    root: Path
    folder: str
    ignore_file: Path
    folders: Mapping[str, str] = field(default_factory=dict)
    in_place: bool = True

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

    def named(self, path: str) -> str:
        """Return what the user calls a path of the folder."""
        place = os.path.normpath(f"{self.folder}/{path}")
        return moved(f"{place}/", self.folders).removesuffix("/") or place

    def disk(self, path: str) -> Path:
        """Return where a path of the folder is."""
        return self.root / (f"{self.folder}/{path}" if self.in_place else self.named(path))

    def leads_to(self, link: str) -> str:
        """Return where a link leads, relative to the folder; empty for that itself.

        Raises:
            InputError: it is to nothing that the builder gets as well.
        """
        try:
            real = followed(link, self._target)
        except EndlessLinkError as error:
            raise InputError(f"{self._shown(link)}, and leads to itself") from error
        if real is None:
            raise self.refused(link)
        place = self.disk(real)
        if real and (
            self.ignore.prunes(real)
            if place.is_dir()
            else place.exists() and self.ignore.leaves_out(real)
        ):
            raise self.refused(link)
        return real

    def refused(self, link: str) -> InputError:
        """Return the error for a link to what the builder does not get."""
        return InputError(
            f"{self._shown(link)}, which is not in the image",
            hint="put there what it leads to; a link may lead, by a relative path, to what else "
            "the images get from there, too",
        )

    def _shown(self, link: str) -> str:
        return f"{self.named(link)} is a link to {self._target(link)}"

    def _target(self, path: str) -> str | None:
        try:
            return str(self.disk(path).readlink())
        except OSError:
            return None  # it is none

    def _below(self, folder: str) -> Iterator[str]:
        try:
            entries = sorted(os.scandir(self.disk(folder)), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{self.named(folder)} cannot be read: {error.strerror}") from error
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not self.ignore.prunes(path):
                    yield from self._below(path)
            elif not self.ignore.leaves_out(path):
                if entry.is_symlink():
                    self.leads_to(path)
                elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                    named = self.named(path)
                    raise InputError(f"{named} is neither a file nor a folder nor a link")
                yield path


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

    def of_project(self, project: Path, folder: str) -> BuiltFrom:
        """Return the contexts of one folder with the project's files where the project has them.

        Args:
            project: the project.
            folder: the contexts' path.
        """
        own = (context for context in self.contexts if context.folder == folder)
        return replace(
            self,
            contexts=tuple(replace(context, root=project, in_place=False) for context in own),
        )

    def leads_to(self, link: str, others: Collection[str]) -> str | None:
        """Return where a link leads, relative to the root; None if the link is left out.

        Args:
            link: its path, relative to the root.
            others: the files and links that the images get, and the folders that these are in.

        Raises:
            InputError: the images do not get it: it is to nothing that they get as well.
        """
        way = None
        for context in self.contexts:
            path = link.removeprefix(f"{context.folder}/")
            if not _is_below(link, context.folder) or context.ignore.leaves_out(path):
                continue
            real = context.leads_to(path)
            way = os.path.normpath(f"{context.folder}/{real}")
            if way not in others and context.disk(real).exists():
                raise context.refused(path)
        return way


def built_from(root: Path, bake_file: str, folders: Mapping[str, str] | None = None) -> BuiltFrom:
    """Return what the images of a bake file are built from.

    Args:
        root: the folder that its paths are relative to.
        bake_file: its path.
        folders: folders below the root, and where the project has them: what errors name.
    """
    text = (root / bake_file).read_text()
    found = sorted(build_folders(text), key=str)
    files = {bake_file}
    contexts = []
    for place in found:
        if not (root / place.folder).is_dir():
            continue  # the build says so
        context = _context(root, place.folder, place.dockerfile, folders or {})
        contexts.append(context)
        named = [root / place.folder / place.dockerfile] if place.dockerfile else []
        files |= {
            os.path.relpath(file, root) for file in (*named, context.ignore_file) if file.exists()
        }
    return BuiltFrom(tuple(contexts), frozenset(files))


def read(
    root: Path, name: str, target: BakeTarget, project: Mapping[str, str] | None = None
) -> Sources:
    """Return what the builder reads for a target.

    Args:
        root: the folder that the bake file's paths are relative to.
        name: the target's name, for errors.
        project: folders below the root, and where the project has them: what errors name.

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
            context: _entries(
                _context(root, place, named if context == MAIN else None, project or {})
            )
            for context, place in folders.items()
        },
    )


def _context(
    root: Path, folder: str, dockerfile: str | None, folders: Mapping[str, str]
) -> BuildContext:
    place = root / folder
    own = place / f"{dockerfile}.dockerignore"
    ignore_file = own if dockerfile and own.is_file() else place / ".dockerignore"
    return BuildContext(root, folder, ignore_file, folders)


def _is_below(path: str, folder: str) -> bool:
    return folder in {"", "."} or path.startswith(f"{folder}/")


def _entries(context: BuildContext) -> dict[str, str]:
    return {path: _entry(context, path) for path in context.paths()}


def _entry(context: BuildContext, path: str) -> str:
    """Return the kind of a file, and its hash or a link's target."""
    place = context.disk(path)
    if place.is_symlink():
        return f"link {place.readlink()}"
    try:
        with place.open("rb") as file:
            return f"file {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError as error:
        raise InputError(f"{context.named(path)} cannot be read: {error.strerror}") from error
