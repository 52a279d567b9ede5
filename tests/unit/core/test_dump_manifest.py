"""The manifest of a dump: what it says comes back, and what is none is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tasks.core.dump_manifest import DATABASE, UPLOADS, Manifest, Member, read_manifest
from tasks.core.errors import UnreadableError

MANIFEST = Manifest(
    branch="feature/x",
    environment="dev",
    made_at="2026-11-27T08:00:00+00:00",
    mautic="7.0.0",
    migrations=("one",),
    rows={"leads": 2, "users": 1},
    members={DATABASE: Member(3, "0" * 64), UPLOADS: Member(0, "f" * 64)},
)


def test_what_is_written_is_read() -> None:
    assert read_manifest(MANIFEST.to_json().encode()) == MANIFEST
    assert MANIFEST.title == "feature/x of 2026-11-27T08:00:00+00:00 (Mautic 7.0.0, 3 rows)"


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "mautic-multidev dump 2"},
        {"members": {DATABASE: {"bytes": 3, "sha256": "0" * 64}}},
        {"members": {name: {"bytes": 3, "sha256": "x"} for name in (DATABASE, UPLOADS)}},
        {"rows": {"leads": "many"}},
        {"migrations": None},
    ],
)
def test_what_is_none_is_refused(changes: dict[str, Any]) -> None:
    text = json.dumps({**json.loads(MANIFEST.to_json()), **changes})
    with pytest.raises(UnreadableError):
        read_manifest(text.encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff"])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_manifest(text)
