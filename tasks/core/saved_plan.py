"""A plan that was saved: what was asked for, and every fact that it depends on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tasks.core.environment import parse
from tasks.core.errors import InputError, UnreadableError

VERSION = 1
STEPS = "steps"
_HASH = re.compile(r"\b[0-9a-f]{16}\Z")
SHOWN_MAX = 5
"""How many differences are named."""
OWN_BEGINNING = ("namespace", "record", "limits", STEPS)
"""What the facts begin with that change by the deploy's own first step: it makes the namespace."""

DATABASE_IMAGE = "image database"
"""The fact of an image that the deploy makes or pulls, where nobody knows its digest before."""


@dataclass(frozen=True)
class Asked:
    """What a plan was asked for.

    Attributes:
        tag: the images' tag; empty for that of what is checked out.
        data: what a new environment begins with; empty for its setting.
        build: whether a build is a part of it.
    """

    environment: str
    branch: str
    tag: str = ""
    data: str = ""
    build: bool = True


@dataclass(frozen=True)
class SavedPlan:
    """A plan as it is saved, without any secret.

    Attributes:
        title: the plan's title.
        made_at: ISO 8601, UTC.
        facts: what it depends on, by what it is of (``foresight``).
        effects: what happens to each object, for whoever reads the file.
    """

    version: int
    title: str
    made_at: str
    asked: Asked
    facts: Mapping[str, str]
    effects: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_saved(text: str | bytes, name: str) -> SavedPlan:
    """Return the plan in a file's text.

    Args:
        name: the file's name, for the error.

    Raises:
        InputError: it is none, or of another version of the suite.
    """
    try:
        found = parse(SavedPlan, text, name)
    except UnreadableError as error:
        raise InputError(error.message, hint="make one: inv plan --out FILE") from error
    if found.version != VERSION:
        raise InputError(
            f"{name} is of another version of this suite", hint="make a new one: inv plan --out"
        )
    return found


def changed_facts(
    then: Mapping[str, str], now: Mapping[str, str], *, begun: bool = False
) -> list[str]:
    """Return in a few words each what is no longer as it was: nothing if all is.

    Args:
        then: the facts of a plan that was saved.
        now: the facts of the same plan, made anew.
        begun: the deploy has begun, and has made the namespace or the database's image where there
            was none.
    """

    def is_own_doing(name: str) -> bool:
        if name == DATABASE_IMAGE:
            return not then.get(name)
        return then.get("namespace") == "" and name.startswith(OWN_BEGINNING)

    changed = [
        name
        for name in {**then, **now}
        if then.get(name, "") != now.get(name, "") and not (begun and is_own_doing(name))
    ]
    # What they come to is told last: the cause is before it.
    return [_told(name, then, now) for name in sorted(changed, key=lambda name: name == STEPS)]


def _told(name: str, then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return a fact's name, and what it was and is, as far as that says anything."""
    was, becomes = then.get(name, ""), now.get(name, "")
    if _HASH.search(was or becomes):
        return name
    return f"{name} ({was or 'none'}, now {becomes or 'none'})"


def told(changed: list[str]) -> str:
    """Return what has changed in one line."""
    more = f" and {len(changed) - SHOWN_MAX} more" if len(changed) > SHOWN_MAX else ""
    return f"{', '.join(changed[:SHOWN_MAX])}{more}"


def facts_of_settings(settings: Mapping[str, Any], environment: str) -> Mapping[str, Any]:
    """Return the settings that an environment's deploy depends on: all but other environments'.

    Args:
        settings: all of them, JSON-ready.
    """
    return {**settings, "environments": settings["environments"][environment]}
