"""Names and tags that RDS takes, and which snapshots are whose."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.core.server_snapshots import (
    AVAILABLE,
    BRANCH,
    CREATING,
    IMAGE,
    RELEASE,
    WHY,
    ServerSnapshot,
    hand_tags,
    owned,
    owner_tags,
    release_tags,
    snapshot_name,
    surplus,
    taken_for,
)
from tests.support.fakes import NAMES
from tests.support.fakes import RELEASE as CURRENT

NOW = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
TAGS = owner_tags("mautic", NAMES)
NEWER = replace(CURRENT, tag="newer", mautic="r/mautic@sha256:2")
MINE = ServerSnapshot(
    *("a", "mautic-prod", NOW.isoformat(), AVAILABLE, 100),
    tags={**TAGS, RELEASE: "newer", IMAGE: "sha256:2"},
)


@pytest.mark.parametrize(
    "parts",
    [
        ("main", "1a2b3c4d"),
        ("main--", "-v1.2_3+x-"),
        ("m" * 63, "t" * 128),
        ("m" * 250,),
        ("ä", ""),
        *((("m" * length), "x--y") for length in range(205, 215)),
    ],
)
def test_every_name_is_one_that_rds_takes(parts: tuple[str, ...]) -> None:
    """A letter, then letters, digits and hyphens; no two together, none at the end."""
    name = snapshot_name("mautic-prod", NOW, *parts)
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", name)
    assert len(name) <= 255
    assert name.startswith("mautic-prod-at-20261127t120000z")


def test_tags_hold_what_aws_takes_and_no_more() -> None:
    odd = replace(NAMES, branch="feature/ü#1(x)")
    assert owner_tags("mautic", odd)[BRANCH] == "feature/ü_1_x_"
    assert len(hand_tags("x" * 999)[WHY]) == 256
    unknown = replace(CURRENT, migration="")
    assert "" not in release_tags(unknown, NEWER).values()


def test_only_what_bears_all_tags_of_the_environment_is_its_own() -> None:
    others = [
        replace(MINE, name="foreign", tags={}),
        replace(MINE, name="other", tags={**MINE.tags, BRANCH: "other"}),
    ]
    early = replace(MINE, name="b", taken_at=(NOW - timedelta(days=1)).isoformat())
    begun = replace(MINE, name="0", taken_at="", status=CREATING)
    found = owned([begun, MINE, *others, early], TAGS)
    assert [each.name for each in found] == ["b", "a", "0"]


@pytest.mark.parametrize(
    ("changes", "is_taken"),
    [
        ({}, True),
        ({"taken_at": "", "status": CREATING}, True),
        ({"taken_at": (NOW - timedelta(hours=3)).isoformat()}, False),
        ({"taken_at": (NOW - timedelta(hours=3)).isoformat(), "status": CREATING}, True),
        ({"status": "failed"}, False),
        ({"tags": {**TAGS, RELEASE: "newer", IMAGE: "sha256:3"}}, False),
        ({"tags": {**TAGS, **hand_tags("by hand")}}, False),
    ],
    ids=["whole", "begun", "old", "long begun", "failed", "of another image", "by hand"],
)
def test_a_release_takes_one(changes: dict[str, object], is_taken: bool) -> None:
    mine = [replace(MINE, **changes)]  # type: ignore[arg-type]
    assert bool(taken_for(mine, NEWER.mautic, NOW)) is is_taken


def test_what_deploys_have_taken_goes_the_oldest_first() -> None:
    by_hand = replace(MINE, name="hand", tags={**TAGS, **hand_tags("by hand")})
    begun = replace(MINE, name="begun", status=CREATING)
    mine = [by_hand, MINE, replace(MINE, name="b"), replace(MINE, name="c"), begun]
    assert [each.name for each in surplus(mine, 2)] == ["a"]
    assert surplus(mine, 3) == []
