"""The chart's values: the chart's own, the environment's files, and those of one deploy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.core.errors import InputError
from tasks.core.kubernetes.manifests import SECRET


def chart(root: Path) -> Path:
    """Return the chart's directory."""
    return root / "helm" / "mautic"


def files(root: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the paths of an environment's values files.

    Raises:
        InputError: one is not there.
    """
    for name in names:
        if not (root / name).is_file():
            raise InputError(
                f"there is no values file {name}",
                hint="correct `values` of the environment in invoke.yaml",
            )
    return tuple(root / name for name in names)


def merge_values(root: Path, names: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chart's merged values.

    Args:
        names: the environment's values files; the later ones win.
        values: the values of this deploy; they override all files.

    Raises:
        InputError: a file is missing, or cannot be read.
    """
    merged: dict[str, Any] = {}
    for path in (chart(root) / "values.yaml", *files(root, names)):
        merged = overlay(merged, read_values(path))
    return overlay(merged, values)


def read_values(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; an empty one if the file has only comments.

    Raises:
        InputError: the file cannot be read, or has no mapping.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeError) as error:
        raise InputError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(found, dict | None):
        raise InputError(f"{path} must hold keys and values")
    return found or {}


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two maps of values merged like in Helm."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = overlay(result[key], value) if both else value
    return result


def fingerprint(root: Path, names: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return a fingerprint of a release's inputs: values, values files, chart."""
    parts = sorted(path for path in chart(root).rglob("*") if path.is_file())
    named = [(str(path.relative_to(root)), path) for path in parts]
    named += zip(names, files(root, names), strict=True)
    return fingerprint_of(values, ((name, path.read_bytes()) for name, path in named))


def fingerprint_of(values: Mapping[str, Any], contents: Iterable[tuple[str, bytes]]) -> str:
    """Return 16 hex digits of a hash of values and of named contents, in order."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    for name, content in contents:
        digest.update(f"\0{name}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def release_values(values: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the values that Helm gets: those of a deploy, with the Secret's version.

    Args:
        version: the version of the branch's Secret, at which pods restart when it changes.
    """
    return {**values, "secret": {"name": SECRET, "version": version}}
