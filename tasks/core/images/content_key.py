"""The content key: a hash of everything that an image is built from.

Two builds with the same key would make the same image, so an image whose key is in the registry
needs no build. The key does not depend on things that do not change the image: a commit, a tag, a
cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import InputError

PREFIX = "content-"
CODE = "io.mautic-multidev.code"
"""The label of the mautic image with a hash of everything that a migration depends on."""

DIGITS = 64
"""The whole SHA-256: two trees of one key, one of them harmless, could be found for half of it.
With the prefix a key is 72 characters of the 128 that a tag may have."""

_FORMER_DIGITS = 16
"""Keys of the suite's earlier versions, which are still removed with their branches."""

MAIN = "."
"""The name of a target's main context."""

_FORMAT = 1
"""Increased whenever the same inputs must give another key."""

_IRRELEVANT = frozenset(
    {
        "annotations",
        "attest",
        "cache-from",
        "cache-to",
        "no-cache",
        "no-cache-filter",
        "output",
        "pull",
        "secret",
        "ssh",
        "tags",
    }
)
"""Fields of a bake target that say how it is built or where it goes, not what is in it."""

_LINK = "target:"

BakeTarget = Mapping[str, Any]
"""A target of a bake file, as ``docker buildx bake --print`` shows it."""


@dataclass(frozen=True)
class Sources:
    """What a builder reads for one target.

    Attributes:
        dockerfile: hash of the Dockerfile.
        contexts: for each context, by its name, the entries by path. The main context is ``MAIN``.
    """

    dockerfile: str
    contexts: Mapping[str, Mapping[str, str]]

    def without(self, folder: str) -> Sources:
        """Return the same without a folder of the main context."""
        main = {
            path: entry
            for path, entry in self.contexts.get(MAIN, {}).items()
            if path != folder and not path.startswith(f"{folder}/")
        }
        return Sources(self.dockerfile, {**self.contexts, MAIN: main})


def content_key(inputs: Any) -> str:
    """Return the content key of JSON-ready inputs; the order of a mapping's keys is ignored."""
    text = json.dumps([_FORMAT, inputs], sort_keys=True, separators=(",", ":"))
    return PREFIX + hashlib.sha256(text.encode()).hexdigest()


def is_content_key(tag: str) -> bool:
    """Return True if a tag is a content key."""
    digits = tag.removeprefix(PREFIX)
    is_key = tag != digits and len(digits) in {DIGITS, _FORMER_DIGITS}
    return is_key and set(digits) <= set("0123456789abcdef")


def linked(target: BakeTarget) -> dict[str, str]:
    """Return the targets whose result a target copies from: context name to target name."""
    contexts = (target.get("contexts") or {}).items()
    return {name: at.removeprefix(_LINK) for name, at in contexts if at.startswith(_LINK)}


def base_arguments(targets: Mapping[str, BakeTarget]) -> dict[str, str]:
    """Return the base images that targets name: build argument to image reference.

    Raises:
        InputError: two targets give the same argument different images.
    """
    found: dict[str, str] = {}
    for name, target in targets.items():
        for argument, value in (target.get("args") or {}).items():
            if not argument.endswith("_IMAGE"):
                continue
            if found.setdefault(argument, value) != value:
                raise InputError(f"target {name}: {argument} is {value}, but {found[argument]} too")
    return found


def target_keys(
    targets: Mapping[str, BakeTarget],
    *,
    read: Callable[[str, BakeTarget], Sources],
    pins: Mapping[str, str],
    platform: str,
) -> dict[str, str]:
    """Return the content key of every target.

    Args:
        targets: all targets of a bake file.
        read: returns what the builder reads for a target.
        pins: what each base image is right now, by its build argument: a digest.
        platform: the platform of a target that names none, e.g. ``linux/amd64``.

    Raises:
        InputError: a target is linked to itself, or to one that does not exist.
    """
    keys: dict[str, str] = {}
    under_way: list[str] = []

    def key(name: str) -> str:
        if name in keys:
            return keys[name]
        if name in under_way or name not in targets:
            why = "links to itself" if name in under_way else "does not exist"
            raise InputError(f"target {name} of the bake file {why}")
        under_way.append(name)
        target = targets[name]
        links = linked(target)
        sources = read(name, target)
        arguments = target.get("args") or {}
        keys[name] = content_key(
            {
                "args": {at: pins.get(at, value) for at, value in arguments.items()},
                "contexts": {at: dict(files) for at, files in sources.contexts.items()},
                "dockerfile": sources.dockerfile,
                "links": {at: key(of) for at, of in links.items()},
                "platforms": target.get("platforms") or [platform],
                "rest": {
                    field: value
                    for field, value in target.items()
                    if field not in _IRRELEVANT | _SEPARATE
                },
            }
        )
        under_way.remove(name)
        return keys[name]

    for name in targets:
        key(name)
    return keys


_SEPARATE = frozenset(
    {"args", "context", "contexts", "dockerfile", "dockerfile-inline", "platforms"}
)
"""Fields whose content, not text, is part of the key."""
