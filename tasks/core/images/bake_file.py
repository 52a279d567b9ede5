"""Finds the folders that images are built from in the text of a bake file.

A deploy needs them on machines without Docker, which cannot evaluate the file. A build evaluates
it, and checks that the result is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_TARGET = re.compile(r'^target "[^"]*" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_VALUE = re.compile(r'^  (context|dockerfile)\s*=\s*"([^"]*)"', re.MULTILINE)
_CONTEXTS = re.compile(r"^  contexts\s*=\s*\{(.*?)\}", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r'=\s*"([^"]*)"')
_ELSEWHERE = re.compile(r"target:|[a-z-]+://")


@dataclass(frozen=True)
class BuildFolder:
    """A folder that a builder reads.

    Attributes:
        folder: its path, relative to the project's root.
        dockerfile: path of the Dockerfile, relative to the folder; None for a named context.
    """

    folder: str
    dockerfile: str | None = None


def build_folders(text: str) -> frozenset[BuildFolder]:
    """Return the folders that a bake file's targets are built from.

    Args:
        text: the file's text, HCL.
    """
    found = set()
    for block in _TARGET.findall(text):
        target: dict[str, Any] = dict(_VALUE.findall(block))
        named = _CONTEXTS.search(block)
        target["contexts"] = dict(enumerate(_NAMED.findall(named[1] if named else "")))
        if "inherits" in block:
            # The parent target names the context.
            target.setdefault("context", "")
        found |= _of(target)
    return frozenset(found)


def evaluated_folders(targets: Iterable[Mapping[str, Any]]) -> frozenset[BuildFolder]:
    """Return the folders of the targets that ``docker buildx bake --print`` shows."""
    return frozenset(place for target in targets for place in _of(target))


def _of(target: Mapping[str, Any]) -> set[BuildFolder]:
    named = (target.get("contexts") or {}).values()
    found = {BuildFolder(folder) for folder in named if not _ELSEWHERE.match(folder)}
    main = target.get("context", ".")
    inline = "dockerfile-inline" in target
    if main:
        found.add(BuildFolder(main, None if inline else target.get("dockerfile", "Dockerfile")))
    return found
