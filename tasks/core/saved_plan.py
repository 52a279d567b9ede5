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
STEPS, COMMIT, TAG, SETTINGS, RECORD = "steps", "commit", "tag", "settings", "record"
DEPLOYED = "deployed"
"""The fact of the last deploy of an environment, whatever came of it."""
ASLEEP = "asleep"
"""The fact that an environment sleeps, in words; empty for one that is awake."""
CAUSES = (COMMIT, TAG, DEPLOYED, ASLEEP, SETTINGS)
"""The facts that others follow from."""
WORDS = {
    SETTINGS: "settings (invoke.yaml, INVOKE_ variables)",
    RECORD: "the environment's record",
    "definition": "the services' definition",
    "migration": "what the migration depends on",
    "values": "the chart's values",
    "limits": "the namespace's limits",
    "secret": "the branch's secret",
    STEPS: "its steps",
}
"""What facts are called where their own names say little to who reads an error."""
_HASH = re.compile(r"\b[0-9a-f]{16}\Z")
_LONG = re.compile(r"\b([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{28}|[0-9a-f]{52})\b")
"""A commit, or the digits of an image's digest."""
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
    if DEPLOYED in changed and RECORD in changed:
        changed.remove(RECORD)  # which holds it
    if ASLEEP in changed:  # which changes all that runs
        changed = [name for name in changed if name in CAUSES]
    told = {name: _told(name, then.get(name, ""), now.get(name, "")) for name in changed}

    def rank(name: str) -> tuple[int, bool, bool]:
        """Return the place of a fact: causes first, what they come to last."""
        cause = CAUSES.index(name) if name in CAUSES else len(CAUSES)
        return cause, name == STEPS, told[name] == _title(name)

    return [told[name] for name in sorted(changed, key=rank)]


def _told(name: str, was: str, becomes: str) -> str:
    """Return a fact in words, with what it was and is as far as that says anything."""
    if name == DEPLOYED:
        return f"deployed since: {becomes}" if becomes else f"removed since; it was {was}"
    if name == ASLEEP:
        return f"the environment is {becomes or f'awake; it was {was}'}"
    if _HASH.search(was or becomes) or name == "migration":
        return _title(name)
    return f"{_title(name)} ({_short(was) or 'none'}, now {_short(becomes) or 'none'})"


def _title(name: str) -> str:
    return WORDS.get(name, name)


def _short(value: str) -> str:
    """Return a fact with as few digits of commits and digests as are shown elsewhere."""
    return _LONG.sub(lambda found: found[1] + (found[2] if len(found[0]) > 40 else ""), value)


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
