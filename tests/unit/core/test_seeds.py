"""Seeds by their manifests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.core.dump_manifest import Member
from tasks.core.errors import InputError, SuiteError
from tasks.core.seeds import (
    DATA,
    UPLOADS,
    Seed,
    abandoned,
    check_id,
    complete_manifest,
    expired,
    new_id,
    read_manifest,
)

MADE = datetime(2026, 11, 27, 7, 12, 5, tzinfo=UTC)
ID = "20261127t071205"
KEY = "0f" * 32
PROGRAM = {
    "format": "mautic-seed 1",
    "mautic": "7.0.0",
    "contacts": "all",
    "rows": {"leads": 10_000, "emails": 20},
    "bytes": 1_000,
    "file_sha256": "ab" * 32,
    "rules_sha256": "cd" * 32,
}
UPLOADED = {
    **{"files": 3, "content_bytes": 1_900_000, "tar_sha256": "12" * 32},
    **{"bytes": 2_000_000, "file_sha256": "34" * 32},
}


def seed(id_: str, source: str = "prod") -> Seed:
    return read_manifest(complete_manifest(json.dumps(PROGRAM), id_, source, KEY), id_)


def test_a_manifest_says_what_a_seed_is() -> None:
    found = seed(ID)
    assert (found.id, found.source, found.mautic) == (ID, "prod", "7.0.0")
    assert (found.contacts, found.rows, found.sealed.bytes) == ("all", 10_020, 1_000)
    assert found.made_at == MADE
    assert found.as_dict()["made_at"] == "2026-11-27T07:12:05+00:00"


def test_a_key_that_is_not_the_seeds_is_told_by_its_manifest() -> None:
    found = seed(ID)
    assert found.is_of(KEY)
    assert found.is_of(KEY.upper())
    assert not found.is_of("ac" * 32)
    assert KEY not in found.manifest
    # Neither does another seed of the same key have the same.
    assert seed("20261127t071206").key_check != found.key_check
    before = json.loads(found.manifest)
    del before["key_check"]
    assert read_manifest(json.dumps(before), ID).is_of("ac" * 32)


def test_a_seed_of_before_uploads_says_that_it_has_none() -> None:
    found = seed(ID)
    assert found.title == f"seed {ID} of prod (10,020 rows, masked; no uploads)"
    assert (list(found.parts), found.as_dict()["uploads"]) == ([DATA], None)


def test_a_seed_s_uploads_are_a_part_of_their_own() -> None:
    text = complete_manifest(json.dumps({**PROGRAM, "uploads": UPLOADED}), ID, "prod", KEY)
    found = read_manifest(text, ID)
    assert found.title == f"seed {ID} of prod (10,020 rows, masked; 3 uploads, 2.0 MB)"
    assert found.parts == {DATA: found.sealed, UPLOADS: Member(2_000_000, "34" * 32)}
    assert found.as_dict()["uploads"] == {"files": 3, "bytes": 2_000_000}
    assert found.without_uploads().parts == {DATA: found.sealed}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "mautic-seed 9"},
        {"id": "20261127t071206"},
        {"rows": []},
        {"rows": {"leads": "many"}},
        {"bytes": None},
        {"file_sha256": "short"},
        {"uploads": None},
        {"uploads": {**UPLOADED, "files": "many"}},
        {"uploads": {**UPLOADED, "file_sha256": None}},
    ],
)
def test_a_manifest_of_something_else_is_refused(change: dict[str, Any]) -> None:
    text = json.dumps({"id": ID, "source": "prod", **PROGRAM, **change})
    with pytest.raises(SuiteError, match="manifest"):
        read_manifest(text, ID)


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "{}"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(SuiteError, match=f"the manifest of seed {ID} cannot be read"):
        read_manifest(text, ID)


def test_ids_sort_by_time_and_fit_a_database() -> None:
    assert new_id(MADE) == ID < new_id(MADE + timedelta(seconds=1))
    assert check_id(ID) == ID
    for wrong in ("", "20261127", f"{ID}/..", f"{ID}\n", "../20261127t071205"):
        with pytest.raises(InputError, match="is no seed's id"):
            check_id(wrong)


def test_the_newest_seed_of_a_source_does_not_expire() -> None:
    old, older = seed("20260101t000000"), seed("20250101t000000")
    only = seed("20250101t000000", "stage")
    fresh = seed("20261126t000000")
    assert expired([older, old, only], timedelta(days=30), MADE) == [older]
    assert expired([older, old, fresh], timedelta(days=30), MADE) == [older, old]
    assert expired([fresh], timedelta(), MADE) == []


def test_what_a_killed_run_left_is_known_after_a_day() -> None:
    assert not abandoned(ID, MADE + timedelta(hours=23))
    assert abandoned(ID, MADE + timedelta(hours=25))
    assert not abandoned("somebody-elses", MADE + timedelta(days=900))
