"""What carrying out a plan changes, object by object, and the facts that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ADD, CHANGE, REMOVE, RUN, KEEP = "add", "change", "remove", "run", "keep"
"""What happens to an object; one that is run is made anew, and ends by itself."""
MARKS = {ADD: "+", CHANGE: "~", REMOVE: "-", RUN: ">"}
TOLD = ((ADD, "added"), (CHANGE, "changed"), (REMOVE, "removed"), (RUN, "run"), (KEEP, "unchanged"))

SHOWN_LENGTH = 60
"""How much of a value is shown; of a longer one, or one of several lines, its hash tells more."""


@dataclass(frozen=True)
class Hidden:
    """What stands in the place of a value that nobody may see: the same for the same value."""

    hash: str

    def __str__(self) -> str:
        return f"hidden, {self.hash}"


@dataclass(frozen=True)
class Note:
    """What stands in the place of a value that cannot be had: why, in words."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class FieldChange:
    """One field of an object that becomes another; None where it is not there.

    Attributes:
        path: e.g. ``spec.template.spec.containers[fpm].image``.
    """

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.path}: {shown(self.before)} -> {shown(self.after)}"


@dataclass(frozen=True)
class ObjectChange:
    """What happens to one object.

    Attributes:
        verb: ``add``, ``change``, ``remove``, ``run`` or ``keep``.
        title: kind and name, e.g. ``deployment/x-web``.
        fields: what becomes different; of an object that is there alone.
        wanted: a hash of what it is to be, where it is added.
    """

    verb: str
    title: str
    fields: tuple[FieldChange, ...] = ()
    wanted: str = field(default="", compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the change as JSON-ready data, without hidden values."""
        fields = [
            {"path": each.path, "before": _plain(each.before), "after": _plain(each.after)}
            for each in self.fields
        ]
        return {"verb": self.verb, "object": self.title, "fields": fields}


@dataclass(frozen=True)
class Foresight:
    """What carrying out a plan changes, and what that depends on.

    Attributes:
        objects: what happens to each object.
        facts: what was found, by what it is of: texts, or hashes where a text would be long or
            a secret.
    """

    objects: tuple[ObjectChange, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_facts(self) -> dict[str, str]:
        """The facts, and what they come to: each field that changes."""
        return {**self.facts, **dict(_effects(self.objects))}

    def lines(self) -> Iterator[str]:
        """Yield the objects as lines: how many of which, then each that does not stay as it is."""
        counts = Counter(each.verb for each in self.objects)
        told = [f"{counts[verb]} {word}" for verb, word in TOLD if counts[verb]]
        yield f"objects: {', '.join(told) or 'none is touched'}"
        yield from object_lines(each for each in self.objects if each.verb != KEEP)


def object_lines(objects: Iterable[ObjectChange]) -> Iterator[str]:
    """Yield a line for each object, and one for each field of it."""
    for each in objects:
        yield f"  {MARKS[each.verb]} {each.title}"
        yield from (f"      {one}" for one in each.fields)


def _effects(objects: Iterable[ObjectChange]) -> Iterator[tuple[str, str]]:
    for each in objects:
        if each.verb == CHANGE:
            for one in each.fields:
                yield f"{each.title} {one.path}", fact((_plain(one.before), _plain(one.after)))
        elif each.verb != KEEP:
            yield each.title, f"{each.verb} {each.wanted}".strip()


def fact(value: Any) -> str:
    """Return a hash of JSON-ready data: 16 hex digits."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shown(value: Any) -> str:
    """Return a field's value as it is shown, in one line."""
    if value is None:
        return "none"
    if isinstance(value, Hidden | Note):
        return str(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    if len(text) <= SHOWN_LENGTH and "\n" not in text:
        return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text
    if "@sha256:" in text and "\n" not in text:
        name, _, digest = text.rpartition("@sha256:")
        return f"{name.rpartition('/')[2]}@{digest[:12]}"
    return f"{len(text)} characters, {fact(text)}"


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Hidden | Note) else value
