"""Compares files on disk with those of a commit, byte by byte.

`git status` is not enough: it does not show ignored files, does not look into nested repositories,
and takes files for unchanged when told to (``assume-unchanged``, ``core.fileMode``,
``core.symlinks``, a sparse checkout). A builder reads whatever is on disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tasks.core.errors import InputError

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:.+\n)*?oid sha256:([0-9a-f]{64})\n"
    rb"size (\d+)\n(?:.*\n?)*"
)
"""https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, "The Pointer"."""

_POINTER_MAX_BYTES = 1023

_LINK = "120000"
_REPOSITORY = "160000"
"""Modes of git's trees that are not regular files."""


class BuildInputs(Protocol):
    """What images are built from; every path is relative to the root."""

    def paths(self) -> frozenset[str]:
        """Return the files and symbolic links that exist."""

    def holds(self, path: str) -> bool:
        """Return True if images would be built from a file at that path, existing or not."""


class RunGit(Protocol):
    """Runs git in a folder, and returns what it prints; bytes that are not UTF-8 as surrogates."""

    def __call__(self, where: Path, *args: str, stdin: str = "", check: bool = True) -> str:
        """Return git's stdout; raise a CommandError when git fails, unless ``check`` is False."""


@dataclass(frozen=True)
class _Entry:
    """An entry of a commit's tree.

    Attributes:
        oid: the id of its object.
        repository: the folder of the repository that has the object: a submodule's own.
        path: its path in that repository.
    """

    mode: str
    oid: str
    repository: Path
    path: str


class Comparison:
    """What images are built from on disk, beside HEAD.

    Args:
        ask: runs git.
        root: the folder that paths are relative to.
        built: what images are built from.
        known: paths that are known to differ.

    Raises:
        InputError: a file cannot be part of an image.
    """

    def __init__(self, ask: RunGit, root: Path, built: BuildInputs, known: Iterable[str]) -> None:
        self._ask = ask
        self._root = root
        self._built = built
        self._known = frozenset(known)
        self._paths = sorted(built.paths())
        self._committed = _tree(ask, root)

    def differences(self) -> list[str]:
        """Return the paths whose files differ, sorted; those that are known to are left out."""
        new = []
        changed = {}
        for path in self._paths:
            if path in self._known:
                continue
            entry = self._committed.get(path)
            if entry is None:
                new.append(path)
            elif not _is_object(self._root / path, entry):
                changed[path] = entry
        as_checked_out = _checked_out(self._ask, self._root, changed)
        return sorted([*new, *(path for path in changed if path not in as_checked_out)])

    def missing(self) -> list[str]:
        """Return the paths of HEAD that are not on disk, sorted."""
        return sorted(
            path
            for path in self._committed
            if self._built.holds(path) and not os.path.lexists(self._root / path)
        )

    def require_complete(self) -> None:
        """Check that everything HEAD builds images from is checked out; deleted files are not.

        Raises:
            InputError: something is missing; the hint is the command that fetches it.
        """
        for path, entry in self._committed.items():
            if entry.mode == _REPOSITORY and self._built.holds(f"{path}/file"):
                raise InputError(
                    f"{path} is a submodule that is not here",
                    hint="git submodule update --init --recursive (in GitLab CI: "
                    "GIT_SUBMODULE_STRATEGY: recursive)",
                )
        for path in self._paths:
            if _pointer(self._root / path):
                raise InputError(
                    f"{path} is only a pointer of Git LFS: its content is not here",
                    hint="git lfs install && git lfs pull; in submodules: git submodule foreach "
                    "--recursive git lfs pull (git-lfs is a package of its own)",
                )
        wanted = [path for path in self._committed if self._built.holds(path)]
        for path in wanted:
            if os.path.lexists(self._root / path):
                continue
            if not any(path == other or path.startswith(f"{other}/") for other in self._known):
                raise not_checked_out(path)
        for path, name in _unfiltered(self._ask, self._root, wanted):
            raise InputError(
                f"{path} is kept by the filter {name!r}, which this clone does not have",
                hint="set the filter up (git-crypt: git-crypt unlock), and check the file out "
                "again",
            )


def not_checked_out(path: str) -> InputError:
    """Return the error for a file that a sparse checkout leaves out."""
    return InputError(
        f"{path} is committed, but not checked out",
        hint="git sparse-checkout disable, or git update-index --no-skip-worktree",
    )


def _tree(ask: RunGit, root: Path, commit: str = "HEAD", below: str = "") -> dict[str, _Entry]:
    """Return a commit's entries below a folder, including those of checked-out submodules."""
    found: dict[str, _Entry] = {}
    for line in filter(None, ask(root, "ls-tree", "-r", "-z", commit, check=not below).split("\0")):
        fields, _, path = line.partition("\t")
        mode, _, oid = fields.split()
        whole = f"{below}{path}"
        if mode == _REPOSITORY and (root / path / ".git").exists():
            found |= _tree(ask, root / path, oid, f"{whole}/")
        else:
            found[whole] = _Entry(mode, oid, root, path)
    return found


def _is_object(path: Path, entry: _Entry) -> bool:
    """Return True if a file's content is exactly a git object's; modes are not compared."""
    if path.is_symlink() != (entry.mode == _LINK) or entry.mode == _REPOSITORY:
        return False
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    digest = hashlib.sha1 if len(entry.oid) == 40 else hashlib.sha256
    header = b"blob %d\0" % len(content)
    return digest(header + content, usedforsecurity=False).hexdigest() == entry.oid


def _checked_out(ask: RunGit, root: Path, changed: Mapping[str, _Entry]) -> set[str]:
    """Return the files that equal what a checkout makes of HEAD's objects.

    A checkout may change content: Git LFS replaces a pointer by a file, and there are attributes
    such as ``ident`` and ``working-tree-encoding``, and filters such as git-crypt's.
    """
    found = set()
    for path, entry in changed.items():
        if (root / path).is_symlink() or entry.mode in {_LINK, _REPOSITORY}:
            continue
        content = (root / path).read_bytes()
        blob = _bytes(ask(entry.repository, "cat-file", "blob", entry.oid))
        if match := _POINTER.fullmatch(blob):
            # Never by the filter: that would fetch what is not here.
            same = (
                int(match[2]) == len(content)
                and match[1].decode() == hashlib.sha256(content).hexdigest()
            )
        else:
            argv = ("cat-file", "--filters", f"--path={entry.path}", entry.oid)
            same = content == _bytes(ask(entry.repository, *argv, check=False))
        if same:
            found.add(path)
    return found


def _unfiltered(ask: RunGit, root: Path, paths: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each path whose filter is not configured in this clone, with the filter's name."""
    asked = "\0".join(path for path in paths if path.isprintable())
    fields = ask(root, "check-attr", "-z", "--stdin", "filter", stdin=asked).split("\0")
    names: dict[str, bool] = {"unspecified": True, "unset": True, "set": True, "lfs": True}
    for path, name in zip(fields[0::3], fields[2::3], strict=False):
        if name not in names:
            keys = (f"filter.{name}.{key}" for key in ("smudge", "process"))
            names[name] = any(ask(root, "config", "--get", key, check=False) for key in keys)
        if not names[name]:
            yield path, name


def _pointer(path: Path) -> bool:
    """Return True if a file is a Git LFS pointer."""
    if path.is_symlink() or path.stat().st_size > _POINTER_MAX_BYTES:
        return False
    return _POINTER.fullmatch(path.read_bytes()) is not None


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
