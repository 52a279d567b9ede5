"""The fields of an object that people have set beside whoever deployed it.

A server-side apply leaves the fields alone that somebody else has added, so that nothing but the
list of who manages which tells of them (FieldsV1:
https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tasks.core.foresight import FieldChange, Hidden, fact
from tasks.core.kubernetes.differences import BY_CONTROLLERS, SECRET_FIELDS
from tasks.core.kubernetes.objects import Object
from tasks.core.kubernetes.removal import PEOPLE

_Path = tuple[str, ...]
_NEVER = (("f:status",), ("f:metadata", "f:finalizers"), ("f:metadata", "f:ownerReferences"))


def set_by_people(live: Object, deployer: str) -> Iterator[FieldChange]:
    """Yield the fields that people's tools have added to an object.

    Args:
        deployer: the field manager that deployed it; its own fields are left out.
    """
    entries = live["metadata"].get("managedFields") or ()
    own = {
        path
        for entry in entries
        if entry.get("manager") == deployer
        for path in _paths(entry.get("fieldsV1") or {})
    }
    told: set[_Path] = set()
    for entry in entries:
        manager = entry.get("manager", "")
        if manager == deployer or entry.get("subresource") == "status" or not _is_tool(manager):
            continue
        for path in _paths(entry.get("fieldsV1") or {}):
            if path in own or _is_below(path, told) or _is_below(path, _NEVER):
                continue
            told.add(path)
            if (found := _value(live, path)) is not None and _key(path[-1]) not in BY_CONTROLLERS:
                secret = live.get("kind") == "Secret" and path[0][2:] in SECRET_FIELDS
                yield FieldChange(_title(path), None, Hidden(fact(found)) if secret else found)


def _is_below(path: _Path, others: Collection[_Path]) -> bool:
    """Return True if a path is one of others, or below one."""
    return any(path[: len(one)] == one for one in others)


def _is_tool(manager: str) -> bool:
    return any(manager.startswith(each) for each in PEOPLE)


def _paths(fields: Mapping[str, Any], at: _Path = ()) -> Iterator[_Path]:
    """Yield the paths of fields, and before those in it that of each item of a list."""
    for key, below in fields.items():
        if key == ".":
            continue
        path = (*at, key)
        if not below or (key.startswith("k:") and "." in below):
            yield path
        yield from _paths(below, path)


def _value(live: Any, path: _Path) -> Any:
    """Return what is at a path; None if nothing is."""
    for key in path:
        kind, _, rest = key.partition(":")
        if kind == "f" and isinstance(live, Mapping):
            live = live.get(rest)
        elif kind == "k" and isinstance(live, Sequence):
            wanted = json.loads(rest).items()
            live = next((each for each in live if wanted <= each.items()), None)
        elif kind == "v" and isinstance(live, Sequence):
            live = json.loads(rest) if json.loads(rest) in live else None
        else:
            return None
    return live


def _key(part: str) -> str:
    """Return a field's name, or what an item of a list is known by."""
    kind, _, rest = part.partition(":")
    if kind == "k":
        found = json.loads(rest)
        return str(found.get("name") or "/".join(str(value) for value in found.values()))
    return rest


def _title(path: _Path) -> str:
    title = ""
    for part in path:
        key = _key(part)
        is_field = part.startswith("f:") and "." not in key and "/" not in key
        title += f".{key}" if is_field else f"[{key}]"
    return title.removeprefix(".")
