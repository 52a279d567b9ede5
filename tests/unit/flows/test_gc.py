"""Which environments are stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.core.environment import State
from tasks.core.errors import SuiteError
from tasks.core.names import Names
from tasks.core.plan import Step
from tasks.flows.gc import Sweep, plan_leftovers, plan_sweep, run_sweep
from tasks.flows.target import Summary
from tests.support.fakes import ME, NAMES, FakeInspector, FakeRemover, a_console

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
THERE = Summary(
    branch="feature/x",
    slug="feature-x",
    repository="ours",
    url="https://x",
    state=State.RUNNING,
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
        ({"state": State.FAILED}, {"main"}, "its branch is gone"),
        ({"state": State.INTERRUPTED}, {"main"}, "its branch is gone"),
        ({"state": State.REMOVING}, {"main"}, "its branch is gone"),
        ({"state": State.DEPLOYING}, {"main"}, None),
        ({"state": State.CHANGING}, {"main"}, None),
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


# -- carrying it out ------------------------------------------------------------------------------


def sweep_of(*found: Summary) -> Sweep:
    return plan_sweep("local", found, repository="ours", branches={"main"}, now=NOW)


def sweep(remover: FakeRemover, inspector: FakeInspector, root: Path) -> str:
    console, said = a_console()
    run_sweep(
        sweep_of(*inspector.found),
        remover,
        inspector,
        names_of,
        tags=None,
        me=ME,
        console=console,
        root=root,
    )
    return said.getvalue()


def test_each_stale_environment_is_removed_under_its_lock(tmp_path: Path) -> None:
    remover, step = FakeRemover(), Step("remove", "container web")
    remover.left.append(step)
    said = sweep(remover, FakeInspector([THERE]), tmp_path)
    assert remover.seen == ["plan", "lock", "plan", "remove container web", "unlock"]
    assert "feature/x: 1 objects removed" in said
    assert "1 removed" in said


def test_one_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    remover = FakeRemover(fails={"plan": [SuiteError("in use")]})
    remover.left.append(Step("remove", "container web"))
    others = [replace(THERE, branch=f"feature/{number}") for number in range(3)]
    with pytest.raises(SuiteError, match="1 of 3 environments could not be removed") as caught:
        sweep(remover, FakeInspector(others), tmp_path)
    assert "feature/0" in caught.value.message
    assert remover.left == []


def test_what_was_deployed_anew_meanwhile_is_left_alone(tmp_path: Path) -> None:
    remover, inspector = FakeRemover(), FakeInspector([THERE])
    remover.left.append(Step("remove", "container web"))
    console, said = a_console()
    planned = sweep_of(THERE)
    inspector.found = [replace(THERE, expires_at=(NOW + timedelta(days=9)).isoformat())]
    with pytest.raises(SuiteError, match="could not be removed: feature/x"):
        run_sweep(
            planned,
            remover,
            inspector,
            names_of,
            tags=None,
            me=ME,
            console=console,
            root=tmp_path,
        )
    assert "it was deployed anew meanwhile, and was left alone" in said.getvalue()
    assert remover.seen == []


def names_of(branch: str) -> Names:
    return replace(NAMES, branch=branch)
