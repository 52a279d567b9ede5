"""In which fields two states of one object differ, as far as somebody decides them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.core.foresight import FieldChange, Hidden, fact
from tasks.core.kubernetes.objects import Object, annotations_of, labels_of

BY_CONTROLLERS = frozenset(
    {
        "deployment.kubernetes.io/revision",
        "deprecated.daemonset.template.generation",
        "kubectl.kubernetes.io/last-applied-configuration",
    }
)
"""Annotations that are kept by controllers and tools, and mean nothing to anybody else."""
_OWN = frozenset({"apiVersion", "kind", "metadata", "status"})
SECRET_FIELDS = ("data", "stringData")


def differences(before: Object, after: Object) -> tuple[FieldChange, ...]:
    """Return the fields in which an object differs from what it becomes; never a secret's value.

    What the API server and the controllers keep in it does not count: status, versions, managers.
    Items of lists are compared by their names where they have some.
    """
    return tuple(_compare("", _decided(before), _decided(after)))


def _decided(item: Object) -> dict[str, Any]:
    """Return what somebody has decided of an object."""
    rest = {key: value for key, value in item.items() if key not in _OWN}
    if item.get("kind") == "Secret":
        for part in SECRET_FIELDS:
            values = rest.get(part) or {}
            rest[part] = {key: Hidden(fact(value)) for key, value in values.items()}
    told = annotations_of(item).items()
    return {
        "metadata": {
            "labels": dict(labels_of(item)),
            "annotations": {key: value for key, value in told if key not in BY_CONTROLLERS},
        },
        **rest,
    }


def _compare(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before == after or (not before and not after and _is_nothing(before, after)):
        return
    if isinstance(before, Mapping | None) and isinstance(after, Mapping | None):
        yield from _mappings(path, before or {}, after or {})
    elif isinstance(before, list) and isinstance(after, list):
        yield from _lists(path, before, after)
    else:
        yield FieldChange(path, before, after)


def _is_nothing(*values: Any) -> bool:
    """Return True if all are what the API takes for a field that is not there."""
    return all(value is None or value in ({}, []) for value in values)


def _mappings(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[FieldChange]:
    for key in sorted({*before, *after}):
        # Annotations, and the keys of a ConfigMap, may have dots.
        part = f"[{key}]" if "." in key or "/" in key else f".{key}"
        yield from _compare(f"{path}{part}".lstrip("."), before.get(key), after.get(key))


def _lists(path: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[FieldChange]:
    names = _names(before), _names(after)
    if names[0] is None or names[1] is None:
        if len(before) != len(after):
            yield FieldChange(path, before, after)
            return
        for number, pair in enumerate(zip(before, after, strict=True)):
            yield from _compare(f"{path}[{number}]", *pair)
        return
    for name in {**names[0], **names[1]}:
        there, then = names[0].get(name), names[1].get(name)
        if there is None or then is None:
            yield FieldChange(f"{path}[{name}]", there, then)
        else:
            yield from _compare(f"{path}[{name}]", there, then)


def _names(items: Sequence[Any]) -> dict[str, Any] | None:
    """Return items by name, or None where not each has one of its own."""
    if not all(isinstance(item, Mapping) and isinstance(item.get("name"), str) for item in items):
        return None
    found = {item["name"]: item for item in items}
    return found if len(found) == len(items) else None
