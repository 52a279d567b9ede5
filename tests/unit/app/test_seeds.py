"""How often the store of seeds is asked in one run."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.app import seeds

ID = "20260102t030405"


def test_a_manifest_is_read_once_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(seeds, "seed_store", lambda _: None)
    monkeypatch.setattr(seeds, "seed_key", lambda _: "key")
    monkeypatch.setattr(seeds, "newest_id", lambda _: ID)
    monkeypatch.setattr(seeds, "stored_seed", lambda _, id_: read.append(id_))
    session: Any = object()
    for named in ("", ID):
        seeds.find_seed(session, named)
    assert read == [ID]
