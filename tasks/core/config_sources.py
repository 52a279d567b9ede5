"""The sources of settings before parsing, files and variables: lowest precedence first."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.core.errors import SettingsError

PREFIX = "INVOKE_"
PROJECT_FILE = "invoke.yaml"


@dataclass(frozen=True)
class Level:
    """One source of settings.

    Attributes:
        name: its name in messages, e.g. ``invoke.yaml``.
        data: the values it sets.
    """

    name: str
    data: Mapping[str, Any]


def merge(levels: Sequence[Level]) -> dict[str, Any]:
    """Return the merged values of all levels.

    Mappings are merged key by key; any other value of a higher level replaces the lower one,
    whatever its type: the strict parser reports wrong types.

    Args:
        levels: lowest precedence first.
    """
    merged: dict[str, Any] = {}
    for level in levels:
        _join(merged, level.data)
    return merged


def origin(levels: Sequence[Level], path: Sequence[str]) -> str:
    """Return the name of the highest level that sets a key, or else one of its parents.

    What nobody sets belongs into the project's own file.

    Args:
        levels: lowest precedence first.
        path: the key's path.
    """
    for length in range(len(path), 0, -1):
        found = setter(levels, path[:length])
        if found:
            return found
    return PROJECT_FILE


def setter(levels: Sequence[Level], path: Sequence[str]) -> str | None:
    """Return the name of the highest level that sets exactly this key, or None."""
    for level in reversed(levels):
        if _sets(level.data, path):
            return level.name
    return None


def variables(
    environ: Mapping[str, str],
    known: Mapping[tuple[str, ...], bool],
    foreign: Collection[str],
) -> list[Level]:
    """Return a level for each ``INVOKE_*`` variable that is set.

    A variable's name is the key's path in upper case, joined by ``_``, a ``-`` as ``_`` as well.

    Args:
        environ: the environment.
        known: the path of every key that a variable may set, and whether it is a list; a list's
            values are separated by commas.
        foreign: invoke's own keys, whose variables are ignored.

    Raises:
        SettingsError: a variable of this prefix that sets nothing.
    """
    names = {variable(path): path for path in known}
    levels: list[Level] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or _is_foreign(name, foreign):
            continue
        path = names.get(name)
        if path is None:
            raise SettingsError(f"the variable {name} sets nothing", hint=nearest(name, names))
        value: Any = environ[name]
        if known[path]:
            value = [item.strip() for item in value.split(",") if item.strip()]
        data = {path[-1]: value}
        for part in reversed(path[:-1]):
            data = {part: data}
        levels.append(Level(f"the variable {name}", data))
    return levels


def variable(path: Sequence[str]) -> str:
    """Return the name of the variable that sets a key."""
    return PREFIX + "_".join(path).replace("-", "_").upper()


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a hint that names the candidate nearest to a misspelt name, or all of a few."""
    valid = list(candidates)
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"valid names: {', '.join(valid)}"


def _join(into: dict[str, Any], data: Mapping[str, Any]) -> None:
    for key, value in data.items():
        name = str(key)
        if isinstance(value, Mapping):
            inner = into.get(name)
            into[name] = dict(inner) if isinstance(inner, Mapping) else {}
            _join(into[name], value)
        else:
            into[name] = value


def _sets(data: Any, path: Sequence[str]) -> bool:
    for part in path:
        if not isinstance(data, Mapping):
            return False
        named = {str(key): value for key, value in data.items()}
        if part not in named:
            return False
        data = named[part]
    return True


def _is_foreign(name: str, foreign: Collection[str]) -> bool:
    rest = name.removeprefix(PREFIX)
    return any(rest == key.upper() or rest.startswith(f"{key.upper()}_") for key in foreign)
