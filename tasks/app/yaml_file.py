"""Reads YAML as people write it: a key that is given twice is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invoke.util import yaml


class _OnceLoader(yaml.SafeLoader):
    """Reads YAML and refuses a key that is given twice, whose first value would be lost."""

    def compose_mapping_node(self, anchor: str | None) -> Any:
        """Return the node of a mapping, each of whose keys stands in it once."""
        node = super().compose_mapping_node(anchor)  # type: ignore[no-untyped-call]
        lines: dict[tuple[str, Any], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if (key.tag, key.value) in lines:
                    first = lines[key.tag, key.value]
                    raise ValueError(
                        f"line {line}: the key {key.value!r} is given twice, first in line {first}"
                    )
                lines[key.tag, key.value] = line
        return node


def read_yaml(path: Path) -> Any:
    """Return what a file holds; None where it is empty.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text, no YAML, or gives a key twice.
    """
    with path.open(encoding="utf-8") as file:
        try:
            return _OnceLoader(file).get_single_data()  # type: ignore[no-untyped-call]
        except yaml.YAMLError as error:
            raise ValueError(str(error)) from error
