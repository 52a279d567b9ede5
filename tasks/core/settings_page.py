"""Generates the reference of the settings from their models: docs/configuration.md."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tasks.core.config_sources import variable
from tasks.core.setting_values import PATTERNS
from tasks.core.settings import NAMED, Environment, Settings, models_in

HEAD = """\
# Configuration

<!-- Made from tasks/core/settings.py by `./inv test --only docs`; edit the descriptions there. -->

The suite's settings stand in `invoke.yaml`. They are merged, the stronger last, from

0. what Terraform published of the environment's `stack`, if it has one: the SSM parameters below
   `/mautic-multidev/<stack>`, read when a task first needs them (`inv doctor` shows what came from
   where),
1. `/etc/invoke.yaml` and `~/.invoke.yaml`, which may hold other projects' keys as well,
2. `invoke.yaml` in the checkout,
3. `INVOKE_*` variables, one per key; a list's values are separated by commas,
4. the file given with `-f`: `./inv -f my.yaml deploy`.

The result is read strictly. An unknown key, a wrong type or an impossible value ends the run with
exit code 2 and one line that names the key, where it stands and, if it is misspelt, the nearest
valid name. So does an `INVOKE_*` variable that sets nothing, and a key that a YAML file gives twice
in one place. invoke's own keys (`run`, `sudo`,
`tasks`, `timeouts`, `runners`) stay invoke's.

Secrets never stand in these files.
"""


def page() -> str:
    """Return docs/configuration.md."""
    parts = [_table(Settings, (), "## Top level")]
    for name, field in Settings.model_fields.items():
        parts += [_table(model, (name,), f"## {name}") for model in models_in(field.annotation)]
    for name, model in NAMED.items():
        parts.append(_table(model, (name, "<name>"), f"## {name}.&lt;name&gt;"))
    for name, field in Environment.model_fields.items():
        path = ("environments", "<name>", name)
        title = f"## environments.&lt;name&gt;.{name}"
        models = models_in(field.annotation)
        for model in models:
            kind = f" ({_first_line(model)})" if len(models) > 1 else ""
            parts.append(_table(model, path, f"{title}{kind}"))
    return "\n".join([HEAD, _contents(parts), *parts])


def _contents(parts: Sequence[str]) -> str:
    """Return links to the parts of the page, each of which begins with its heading."""
    titles = [part.partition("\n")[0].removeprefix("## ") for part in parts]
    return "".join(f"- [{title}](#{_anchor(title)})\n" for title in titles)


def _anchor(title: str) -> str:
    """Return what GitHub and GitLab make of a heading."""
    plain = re.sub(r"&[lg]t;|[^\w\- ]", "", title.lower())
    return plain.replace(" ", "-")


def _table(model: type[BaseModel], path: tuple[str, ...], title: str) -> str:
    rows = [
        f"| `{name}` | {_value(field)} | {_default(field)} | {field.description} |"
        for name, field in model.model_fields.items()
    ]
    lines = [title, "", _first_line(model)]
    leaf = next((name for name, field in model.model_fields.items() if _is_leaf(field)), None)
    if leaf and path:
        example = variable([part.strip("<>") for part in (*path, leaf)])
        lines[-1] += f" As a variable: `{example}`, and so on."
    return "\n".join(
        [*lines, "", "| key | value | default | meaning |", "|---|---|---|---|", *rows, ""]
    )


def _is_leaf(field: FieldInfo) -> bool:
    return not models_in(field.annotation) and typing.get_origin(field.annotation) is not Mapping


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _value(field: FieldInfo) -> str:
    """Return the description of a key's values."""
    models = models_in(field.annotation)
    if models:
        return "keys, see below"
    if not _is_leaf(field):
        return "keys, one per name, see below"
    patterns = [getattr(one, "pattern", None) for one in field.metadata]
    text = _type(field.annotation, [pattern for pattern in patterns if pattern])
    bounds = {
        key: getattr(one, key)
        for one in field.metadata
        for key in ("ge", "le")
        if hasattr(one, key)
    }
    return f"{text}, {bounds['ge']} to {bounds['le']}" if {"ge", "le"} <= bounds.keys() else text


def _type(annotation: Any, patterns: list[str]) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin is tuple:
        return f"list of {_type(inner[0], [])}"
    if origin is typing.Annotated:
        found = [one.pattern for one in inner[1:] if getattr(one, "pattern", None)]
        return _type(inner[0], found)
    if type(None) in inner:
        return " or ".join(_type(one, patterns) for one in inner if one is not type(None))
    if patterns:
        return re.sub(r"^must be ", "", PATTERNS[patterns[0]])
    plain = {bool: "`true` or `false`", int: "a whole number", float: "a number", str: "text"}
    return plain[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    default = field.get_default()
    if isinstance(default, BaseModel):
        return ""
    if default is None:
        return "none"
    return f"`{json.dumps(default)}`" if not isinstance(default, str) else f"`{default}`"
