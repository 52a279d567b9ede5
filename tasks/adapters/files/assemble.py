"""A folder that is put together of files from elsewhere, without copying what it need not copy."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tasks.adapters.files.whole import write_whole_bytes

_LIST = ".assembled"
"""What was put there, so that the next time only this is removed."""


def assemble(folder: Path, files: Mapping[str, Path]) -> None:
    """Make a folder hold these files, and no longer those of the last time that are not among them.

    What others have put there stays. Each file appears whole, so two runs may do it at once.

    Args:
        folder: made if it is missing; git ignores it.
        files: the files and links, by their paths in the folder; one that is not there is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / _LIST
    before = set(_read(listed).split("\0"))
    present = {name: path for name, path in files.items() if os.path.lexists(path)}
    # First what there will be: an interrupted run leaves nothing that no list names.
    _write(listed, "\0".join(sorted(before | present.keys())))
    _write(folder / ".gitignore", "*\n")
    for name in filter(None, before - present.keys()):
        _remove(folder, name)
    for name, path in present.items():
        _place(path, folder / name)
    _write(listed, "\0".join(sorted(present)))


def _place(source: Path, target: Path) -> None:
    if _is_same(source, target):
        return
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)  # a folder has become a file
    for parent in target.parents:
        if parent.is_symlink() or parent.is_file():
            parent.unlink()  # a file has become a folder
            break
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as scratch:
        fresh = Path(scratch) / "file"
        if source.is_symlink():
            fresh.symlink_to(source.readlink())
        else:
            try:
                fresh.hardlink_to(source)
            except OSError:  # another file system, or another user's file
                if target.is_file() and filecmp.cmp(source, target, shallow=False):
                    return
                shutil.copy2(source, fresh)
        fresh.replace(target)


def _is_same(source: Path, target: Path) -> bool:
    """Return True if a target is its source, or a link as its source is one."""
    try:
        there, here = target.lstat(), source.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    both_links = stat.S_ISLNK(there.st_mode) and stat.S_ISLNK(here.st_mode)
    return os.path.samestat(there, here) or (both_links and source.readlink() == target.readlink())


def _remove(folder: Path, name: str) -> None:
    path = folder / name
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        path.unlink()
    for parent in path.parents:
        if parent == folder:
            return
        try:
            parent.rmdir()
        except OSError:  # it holds something, or is gone
            return


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _write(path: Path, text: str) -> None:
    if _read(path) != text:
        write_whole_bytes(path, text.encode(errors="surrogateescape"))
