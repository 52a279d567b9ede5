"""What a builder reads from the disk for a bake target: its Dockerfile and its contexts."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tasks.core.errors import InputError
from tasks.core.images.content_key import MAIN, Sources, Target


def read(root: Path, name: str, target: Target) -> Sources:
    """Return what the builder reads for a target.

    Args:
        root: the folder that the bake file's paths are relative to.
        name: the target's name, for errors.
        target: the target.

    Raises:
        InputError: a context or Dockerfile does not exist, or is not on this machine.
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
    dockerfile = root / folders[MAIN] / str(target.get("dockerfile", "Dockerfile"))
    if inline is None and not dockerfile.is_file():
        raise InputError(f"target {name}: there is no file {dockerfile}")
    text = inline.encode() if inline is not None else dockerfile.read_bytes()
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    return Sources(
        dockerfile=hashlib.sha256(text).hexdigest(),
        contexts={
            context: _folder(
                root / place,
                own if context == MAIN and own.is_file() else root / place / ".dockerignore",
            )
            for context, place in folders.items()
        },
    )


def _folder(folder: Path, ignore: Path) -> dict[str, str]:
    """Return every path of a context and what is there, without what the ignore file leaves out."""
    from docker.utils.build import exclude_paths

    patterns = []
    if ignore.is_file():
        lines = (line.strip() for line in ignore.read_text().splitlines())
        patterns = [line for line in lines if line and not line.startswith("#")]
    # A Dockerfile that nothing copies is no part of the image: its text has a place of its own in
    # the key. exclude_paths always takes it in, under the name given here: a folder's own, which
    # is no path in it.
    return {
        path: _entry(folder / path)
        for path in sorted(exclude_paths(str(folder), patterns, dockerfile="."))
        if path
    }


def _entry(path: Path) -> str:
    """Return what is at a path: its kind and a hash of what it holds."""
    if path.is_symlink():
        return f"link {path.readlink()}"
    if path.is_dir():
        return "folder"
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{'executable' if os.access(path, os.X_OK) else 'file'} {digest}"
