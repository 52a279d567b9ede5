"""What a new file is to be called: checked before anything is done that takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def check_new(path: Path, option: str = "", *, appended: bool = False) -> None:
    """Check that a file can be written, also over another one.

    Args:
        option: what has named it, such as ``--out``; empty if nothing has.
        appended: whether it is only appended to, so that a device may be.

    Raises:
        InputError: its folder is not there, or what has its name is no file.
    """
    shown = f"{option} {path}".lstrip()
    try:
        is_folder = path.is_dir()
        # An administrator would replace a device for everybody, or take it from them.
        is_taken = not appended and path.exists() and not path.is_file()
        has_folder = path.parent.is_dir()
    except OSError as error:
        raise InputError(f"{shown}: it cannot be written: {error.strerror}") from error
    if is_folder:
        raise InputError(f"{shown}: it is a folder")
    if is_taken:
        raise InputError(f"{shown}: it is no file, and is not written over")
    if not has_folder:
        raise InputError(f"{shown}: there is no folder {path.parent}")
