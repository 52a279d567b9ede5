"""Which environments are stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tasks.flows.gc import plan_leftovers, plan_sweep
from tasks.flows.target import Summary

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
THERE = Summary(
    branch="feature/x",
    slug="feature-x",
    repository="ours",
    url="https://x",
    state="running",
    tag="1a2b3c4d",
    commit="c" * 40,
    owner="ada@host",
    created_at=(NOW - timedelta(days=3)).isoformat(),
    deployed_at=(NOW - timedelta(hours=2)).isoformat(),
    expires_at=(NOW + timedelta(seconds=1)).isoformat(),
)
OVER = NOW.isoformat()


@pytest.mark.parametrize(
    ("changes", "branches", "reason"),
    [
        ({}, {"feature/x"}, None),
        ({"expires_at": ""}, {"feature/x"}, None),
        ({}, {"main"}, "its branch is gone"),
        ({}, {"feature/x-2", "feature"}, "its branch is gone"),
        ({"expires_at": OVER}, {"feature/x"}, "its time is over"),
        ({"expires_at": OVER}, {"main"}, "its branch is gone and its time is over"),
        ({"state": "failed"}, {"main"}, "its branch is gone"),
        ({"state": "interrupted"}, {"main"}, "its branch is gone"),
        ({"state": "removing"}, {"main"}, "its branch is gone"),
        ({"state": "deploying"}, {"main"}, None),
        ({"state": "changing"}, {"main"}, None),
        ({"repository": "theirs", "expires_at": OVER}, {"main"}, None),
        ({"repository": "", "expires_at": OVER}, {"main"}, None),
    ],
)
def test_what_is_stale(changes: dict[str, str], branches: set[str], reason: str | None) -> None:
    sweep = plan_sweep(
        "dev", [replace(THERE, **changes)], repository="ours", branches=branches, now=NOW
    )
    assert [item.reason for item in sweep.stale] == ([reason] if reason else [])
    assert len(sweep.steps) == len(sweep.stale)


def test_a_row_tells_age_last_deploy_owner_and_reason() -> None:
    never = replace(THERE, branch="never", owner="", deployed_at="", created_at="")
    found = [THERE, never]
    sweep = plan_sweep("dev", found, repository="ours", branches={"main"}, now=NOW)
    assert sweep.rows(NOW) == [
        ("feature/x", "3d", "2h", "ada@host", "its branch is gone"),
        ("never", "-", "-", "-", "its branch is gone"),
    ]
    assert [item["branch"] for item in sweep.as_dict()["environments"]] == ["feature/x", "never"]


def test_tags_of_branches_that_are_gone_and_have_no_environment_are_left_over() -> None:
    tags = {
        tag: f"digest of {tag.rpartition('.')[2]}"
        for tag in (
            *("a", "b", "c", "d", "e", "latest"),
            *("branch.gone.a", "branch.gone-too.a", "branch.gone.b", "branch.alive.b"),
            *("branch.feature-x.c", "branch.gone.d", "branch.gone.1a2b3c4d", "1a2b3c4d"),
        )
    }
    tags["latest"] = tags["d"]
    (mautic,) = plan_leftovers({"mautic": tags, "nginx": {"a": "A"}}, [THERE], {"alive", "main"})
    assert mautic.repository == "mautic"
    assert mautic.slugs == {"gone", "gone-too"}
    markers = ("1a2b3c4d", "a", "b", "d")
    assert mautic.tags == (
        "a",
        "branch.gone-too.a",
        *(f"branch.gone.{tag}" for tag in markers),
    )
