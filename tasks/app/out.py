"""The files that options name to be written: checked before anything is done that takes long."""

from __future__ import annotations

from pathlib import Path

from tasks.core.errors import InputError

STDOUT = "-"
"""What other programs write to stdout for."""


def named_file(option: str, name: str) -> Path:
    """Return the file that an option names.

    Raises:
        InputError: it names stdout, as other programs understand it.
    """
    if name == STDOUT:
        raise InputError(
            f"{option} {name}: it is written to a file, and never to stdout",
            hint=f"a file of this name is ./{name}",
        )
    return Path(name)


def out_file(name: str) -> Path:
    """Return the file that ``--out`` names, which can be made or written over.

    Raises:
        InputError: its folder is not there, or what has its name is no file.
    """
    return _checked("--out", name)


def check_summary(name: str) -> None:
    """Check what ``--summary`` names, if anything: it is only appended to, so a device may be.

    Raises:
        InputError: its folder is not there, or it is one.
    """
    if name:
        _checked("--summary", name, appended=True)


def _checked(option: str, name: str, *, appended: bool = False) -> Path:
    path = named_file(option, name)
    try:
        is_folder = path.is_dir()
        # An administrator would replace a device for everybody, or take it from them.
        is_taken = not appended and path.exists() and not path.is_file()
        has_folder = path.parent.is_dir()
    except OSError as error:
        raise InputError(f"{option} {path}: it cannot be written: {error.strerror}") from error
    if is_folder:
        raise InputError(f"{option} {path}: it is a folder")
    if is_taken:
        raise InputError(f"{option} {path}: it is no file, and is not written over")
    if not has_folder:
        raise InputError(f"{option} {path}: there is no folder {path.parent}")
    return path
