"""What is asked of the store of seeds, and how often in one run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.seed_store import SeedFolder
from tasks.app import seeds
from tasks.core.dump_manifest import Member
from tasks.core.errors import InputError
from tasks.core.seeds import MANIFEST, Seed, key_check

ID = "20260102t030405"
KEY = "ab" * 32


def an_own(id_: str) -> Seed:
    """Return a seed that is encrypted with ``KEY``."""
    check = key_check(KEY, id_)
    return Seed(id_, "prod", "7.0.0", "all", 1, Member(1, "ab" * 32), "", "", key_check=check)


def test_a_manifest_is_read_once_in_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(seeds, "seed_store", lambda _: None)
    monkeypatch.setattr(seeds, "with_key", lambda *_: None)
    monkeypatch.setattr(seeds, "newest_id", lambda _: ID)
    monkeypatch.setattr(seeds, "stored_seed", lambda _, id_: read.append(id_))
    session: Any = object()
    for named in ("", ID):
        seeds.find_seed(session, named)
    assert read == [ID]


def test_another_key_is_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    session: Any = SimpleNamespace(settings=SimpleNamespace(seeds=SimpleNamespace(key="SEED_KEY")))
    store = SeedFolder(Path("/nowhere"))
    monkeypatch.setattr(seeds, "seed_key", lambda _: KEY)
    assert seeds.with_key(session, store, an_own(ID)).key == KEY
    monkeypatch.setattr(seeds, "seed_key", lambda _: "ac" * 32)
    with pytest.raises(InputError, match=f"SEED_KEY holds another key than seed {ID} is") as caught:
        seeds.with_key(session, store, an_own(ID))
    assert "inv db.seed --list" in str(caught.value.hint)


def test_seeds_are_listed_of_all_environments_or_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SeedFolder(tmp_path)
    for id_, source in ((ID, "prod"), ("20260102t030406", "stage")):
        manifest = {
            **{"id": id_, "format": "mautic-seed 1", "source": source, "mautic": "7.0.0"},
            **{"contacts": "all", "rows": {}, "bytes": 1, "file_sha256": "ab" * 32},
            "rules_sha256": "cd" * 32,
        }
        store.write(id_, MANIFEST, [json.dumps(manifest).encode()])
    monkeypatch.setattr(seeds, "seed_store", lambda _: store)
    known: Any = SimpleNamespace(settings=SimpleNamespace(environment=lambda _: None))

    def listed(env: str) -> list[str]:
        return [each.source for each in seeds.kept_seeds(known, env).whole]

    assert listed("") == ["prod", "stage"]
    assert listed("prod") == ["prod"]
    assert listed("dev") == []
