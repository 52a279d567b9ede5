"""Write the values in docs/chart.md from the chart: `python helm/reference.py`.

What stands above the marker in the page is kept as it is. Descriptions come from
values.schema.json, defaults from values.yaml.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

MARKER = "<!-- From here on written by helm/reference.py -->"
HELM = Path(__file__).resolve().parent
PAGE = HELM.parent / "docs" / "chart.md"

Schema = dict[str, Any]


def page(current: str, schema: Schema, defaults: dict[str, Any]) -> str:
    """Return the page, its values renewed.

    Args:
        current: the page as it is.
        schema: the chart's values.schema.json.
        defaults: the chart's values.yaml.
    """
    kept = current.partition(MARKER)[0]
    return "\n".join([f"{kept}{MARKER}", *_sections(schema, defaults)]) + "\n"


def _sections(schema: Schema, defaults: dict[str, Any]) -> Iterator[str]:
    simple = {name: part for name, part in schema["properties"].items() if not _is_group(part)}
    yield from ("", "### General", "", *_table(simple, defaults, schema, ""))
    for name, part in schema["properties"].items():
        if name not in simple:
            rows = {name: part}
            yield from ("", f"### {name}", "", part["description"], "")
            yield from _table(rows, defaults, schema, "", skip=name)


def _is_group(part: Schema) -> bool:
    return bool(part.get("properties") or part.get("patternProperties"))


def _table(
    parts: dict[str, Schema], defaults: Any, schema: Schema, prefix: str, skip: str = ""
) -> Iterator[str]:
    yield "| key | default | what it is |"
    yield "|---|---|---|"
    for key, default, part in _rows(parts, defaults, schema, prefix):
        if key not in {skip, "global"}:
            yield f"| `{key}` | {default} | {_text(part, schema)} |"


def _rows(
    parts: dict[str, Schema], defaults: Any, schema: Schema, prefix: str
) -> Iterator[tuple[str, str, Schema]]:
    """Return the key, the default and the schema of every value, parents before children."""
    for name, part in parts.items():
        key = f"{prefix}{name}"
        value = defaults.get(name) if isinstance(defaults, dict) else None
        known = isinstance(defaults, dict) and name in defaults
        if part.get("properties"):
            yield key, "", part
            yield from _rows(part["properties"], value or {}, schema, f"{key}.")
        elif inner := next(iter(part.get("patternProperties", {}).values()), None):
            yield key, _names(value or {}), part
            yield from _rows(inner["properties"], {}, schema, f"{key}.NAME.")
        else:
            yield key, _code(value) if known else "", part


def _names(value: dict[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in value)


def _code(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _text(part: Schema, schema: Schema) -> str:
    """Return the description, with what the schema allows."""
    named = part.get("$ref", "").removeprefix("#/$defs/")
    rules = {**schema["$defs"].get(named, {}), **part}
    text = str(part["description"])
    if choices := rules.get("enum"):
        text += " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    if "minimum" in rules:
        text += f" {rules['minimum']} to {rules['maximum']}."
    return text.replace("|", "\\|")


def main() -> None:
    """Write the page."""
    chart = HELM / "mautic"
    schema = json.loads((chart / "values.schema.json").read_text())
    defaults = yaml.safe_load((chart / "values.yaml").read_text())
    PAGE.write_text(page(PAGE.read_text(), schema, defaults))


if __name__ == "__main__":
    main()
