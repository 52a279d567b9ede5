"""Reads the objects that Helm's stored record of a release names.

The record is a Secret of the release's namespace (Helm, pkg/storage/driver): whoever may write
Secrets there can let it name anything. Helm applies and deletes what it names with the rights of
whoever runs it.
"""

from __future__ import annotations

import binascii
import json
import re
import zlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.core.errors import UnreadableError

if TYPE_CHECKING:
    from yaml.nodes import Node

RECORD_MAX_BYTES = 64 << 20
"""How long an unpacked record may be; a Secret holds 1 MiB, which may unpack to a thousand."""
_GZIP = 31
"""``wbits`` of zlib for gzip alone."""
_SEPARATOR = re.compile(r"\n---[^\n]*(?:\n|\Z)")
"""What separates documents for Helm's client (k8s.io/apimachinery, splitYAMLDocument): more than
YAML's own marker, so that text could otherwise hide a second document."""

_FIELDS = frozenset({"hooks", "info", "manifest", "name", "namespace", "version"})
"""The fields of a record that Helm acts by."""
DEPTH_MAX = 100
"""How deep a manifest may be nested; schemas of custom kinds, the deepest there are, stay below."""


@dataclass(frozen=True)
class Named:
    """An object that a manifest names.

    Attributes:
        namespace: an empty string for the release's own, or for an object without one.
    """

    api: str
    kind: str
    name: str
    namespace: str

    def __str__(self) -> str:
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.kind.lower()}/{self.name}{where}"


def unpack(packed: str) -> dict[str, Any]:
    """Return a revision's record from its Secret's data: gzipped JSON, encoded twice.

    Raises:
        UnreadableError: it is something else, or too long.
    """
    try:
        unzip = zlib.decompressobj(_GZIP)
        text = unzip.decompress(b64decode(b64decode(packed)), RECORD_MAX_BYTES)
        if unzip.unconsumed_tail or not unzip.eof:
            raise UnreadableError(f"it is cut off, or has more than {RECORD_MAX_BYTES} bytes")
        found = json.loads(text, object_pairs_hook=_once)
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise UnreadableError("it is no gzipped JSON") from error
    if not isinstance(found, dict):
        raise UnreadableError("it is no gzipped JSON object")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON in which no key is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def named_objects(record: dict[str, Any]) -> Iterator[Named]:
    """Yield the objects that a record's manifest names; those of hooks are never used.

    What Helm could read in another way is not read at all: its JSON takes keys in any case, its
    YAML merges keys in another order and decodes those of other types, and an object with `items`
    is a list to it, whatever its kind (k8s.io/apimachinery, unstructured; seen with 4.3.1).

    Raises:
        UnreadableError: the manifest is no list of objects, or could be read in another way.
    """
    import yaml

    for key in record:
        if key != key.casefold() and key.casefold() in _FIELDS:
            raise UnreadableError(f"its field {key!r} is another one for Helm")
    manifest = record.get("manifest") or ""
    if not isinstance(manifest, str):
        raise UnreadableError("its manifest is no text")
    for part in _SEPARATOR.split(f"\n{manifest}"):
        try:
            item = _compose(part)
        except (yaml.YAMLError, ValueError) as error:
            raise UnreadableError("its manifest is no YAML") from error
        if item is not None:
            fields = _fields(item)
            if any(key.casefold() == "items" for key in fields):
                raise UnreadableError("its manifest has a list of objects")
            meta = _fields(fields.get("metadata"))
            parts = (fields.get("apiVersion"), fields.get("kind"))
            yield Named(*map(_text, (*parts, meta.get("name"), meta.get("namespace"))))


def safe_loader() -> Any:
    """Return the fastest safe loader of YAML: manifests are files of up to a megabyte."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def objects_of(text: str) -> list[dict[str, Any]]:
    """Return the objects of manifests, as Helm renders and stores them.

    What somebody may have tampered with is to be read by ``named_objects`` before.
    """
    import yaml

    loader = safe_loader()
    # S506: it is a safe one.
    parts = (yaml.load(part, Loader=loader) for part in _SEPARATOR.split(f"\n{text}"))  # noqa: S506
    return [item for item in parts if item]


def _compose(document: str) -> Node | None:
    """Return a document's root, or None if it is empty.

    The depth is looked at first, without recursion: a deep document would end the process.
    """
    import yaml

    loader = safe_loader()
    depth = 0
    for event in yaml.parse(document, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise UnreadableError("its manifest is nested too deeply")
    root: Node | None = yaml.compose(document, Loader=loader)
    return root


def _fields(node: Node | None) -> dict[str, Node]:
    """Return a mapping's values, if every key of it is plain text and there once."""
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise UnreadableError("its manifest has something that is no object")
    fields: dict[str, Node] = {}
    for key, value in node.value:
        name = _text(key)
        if name in fields or name == "<<":
            raise UnreadableError(f"its manifest has the key {name!r} twice, or merged")
        fields[name] = value
    return fields


def _text(node: Node | None) -> str:
    if node is None:
        return ""
    if node.tag != "tag:yaml.org,2002:str":
        raise UnreadableError("its manifest has something else where text belongs")
    return str(node.value)
