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
from typing import Any

from tasks.core.errors import UnreadableError

RECORD_MAX_BYTES = 64 << 20
"""How long an unpacked record may be; a Secret holds 1 MiB, which may unpack to a thousand."""
_GZIP = 31
"""``wbits`` of zlib for gzip alone."""
_SEPARATOR = re.compile(r"\n---[^\n]*(?:\n|\Z)")
"""What separates documents for Helm's client (k8s.io/apimachinery, splitYAMLDocument): more than
YAML's own marker, so that text could otherwise hide a second document."""


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
        found = json.loads(text)
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        raise UnreadableError("it is no gzipped JSON") from error
    if not isinstance(found, dict):
        raise UnreadableError("it is no gzipped JSON object")
    return found


def named_objects(record: dict[str, Any]) -> Iterator[Named]:
    """Yield the objects that a record's manifest names; those of hooks are never used.

    Raises:
        UnreadableError: the manifest is no list of objects.
    """
    import yaml

    manifest = record.get("manifest") or ""
    if not isinstance(manifest, str):
        raise UnreadableError("its manifest is no text")
    for part in _SEPARATOR.split(f"\n{manifest}"):
        try:
            item = yaml.load(part, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UnreadableError("its manifest is no YAML") from error
        if item is None:
            continue
        meta = item.get("metadata") if isinstance(item, dict) else None
        if not isinstance(meta, dict):
            raise UnreadableError("its manifest has something that is no object")
        words = (item.get("apiVersion"), item.get("kind"), meta.get("name"), meta.get("namespace"))
        yield Named(*(str(word or "") for word in words))
