"""What a bake file says of the folders that images are built from, read from its text.

A deploy has to know them on machines without Docker, which alone could evaluate the file; a build,
which has it evaluated, makes sure that this came to the same.
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
        folder: the folder, relative to the project's root.
        dockerfile: the Dockerfile that it is the main context of, relative to it; None for the
            folder of a named context.
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
            # Then it is said by the one that it is inherited from.
            target.setdefault("context", "")
        found |= _of(target)
    return frozenset(found)


def evaluated_folders(targets: Iterable[Mapping[str, Any]]) -> frozenset[BuildFolder]:
    """Return the same of the targets that ``docker buildx bake --print`` shows."""
    return frozenset(place for target in targets for place in _of(target))


def _of(target: Mapping[str, Any]) -> set[BuildFolder]:
    named = (target.get("contexts") or {}).values()
    found = {BuildFolder(folder) for folder in named if not _ELSEWHERE.match(folder)}
    main = target.get("context", ".")
    inline = "dockerfile-inline" in target
    if main:
        found.add(BuildFolder(main, None if inline else target.get("dockerfile", "Dockerfile")))
    return found
