"""Which environments are stale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.core.environment import PIPELINE, State
from tasks.core.errors import SuiteError
from tasks.core.names import Names, check_branch
from tasks.core.plan import Step
from tasks.core.sleep import Pinned, Rest
from tasks.core.sleep_hours import SleepRule
from tasks.core.summary import EnvironmentSummary
from tasks.flows.gc import Branches, Sweeper, SweepPlan, find_sweep, plan_sweep, run_sweep
from tests.support.fakes import ME, NAMES, FakeInspector, FakeRemover, a_console
from tests.support.fakes_images import FakeGit

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
THERE = EnvironmentSummary(
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
    checkout="ada@host:/mautic",
    pushed=True,
)
SWEEPER = Sweeper("ours", "ada@host:/mautic", False, timedelta(hours=2))
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
        ({"branch": "rehearse/x"}, {"main"}, None),
        ({"branch": "rehearse/x", "expires_at": OVER}, {"main"}, "its time is over"),
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
    sweep = stale([replace(THERE, **changes)], branches)
    assert [item.reason for item in sweep.stale] == ([reason] if reason else [])
    assert len(sweep.steps) == len(sweep.stale)
    assert sweep.others == ()


def stale(
    found: Sequence[EnvironmentSummary],
    remote: set[str] | None,
    *,
    local: frozenset[str] = frozenset(),
    private: bool = False,
    sweeper: Sweeper = SWEEPER,
    environment: str = "dev",
) -> SweepPlan:
    branches = Branches(remote, local, private)
    return plan_sweep(environment, found, sweeper, branches, now=NOW)


@pytest.mark.parametrize(
    ("changes", "private", "reason"),
    [
        ({}, False, None),
        ({}, True, None),
        ({"pushed": False}, False, "its branch is gone"),
        ({"pushed": False, "checkout": "ada@host:/other"}, False, None),
        ({"expires_at": OVER}, False, "its time is over"),
    ],
)
def test_without_a_remote_only_what_was_never_pushed_can_be_gone(
    changes: dict[str, Any], private: bool, reason: str | None
) -> None:
    sweep = stale([replace(THERE, **changes)], None, private=private)
    assert [item.reason for item in sweep.stale] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("changes", "own", "everybody"),
    [
        ({}, 1, 1),
        # Another clone on this machine, another machine, and a version that did not note it.
        ({"checkout": "ada@host:/other"}, 0, 1),
        ({"checkout": "bob@laptop:/mautic"}, 0, 1),
        ({"checkout": ""}, 0, 1),
        ({"checkout": "bob@laptop:/mautic", "expires_at": OVER}, 0, 1),
        # A pipeline's job has a clone of its own each time.
        ({"checkout": PIPELINE}, 1, 1),
        # Deployed a moment ago.
        ({"deployed_at": (NOW - timedelta(minutes=119)).isoformat()}, 0, 0),
        ({"deployed_at": "", "created_at": NOW.isoformat()}, 0, 0),
        ({"deployed_at": (NOW - timedelta(minutes=1)).isoformat(), "expires_at": OVER}, 1, 1),
        # A branch that was never on the remote is not gone from there.
        ({"checkout": "bob@laptop:/mautic", "pushed": False}, 0, 0),
        ({"checkout": "bob@laptop:/mautic", "pushed": False, "expires_at": OVER}, 0, 1),
        ({"pushed": False}, 1, 1),
        ({"checkout": "", "pushed": None}, 0, 1),
    ],
)
def test_what_another_checkout_has_deployed_is_listed_and_removed_by_all_alone(
    changes: dict[str, Any], own: int, everybody: int
) -> None:
    there = replace(THERE, **changes)
    mine = stale([there], {"main"})
    assert (len(mine.stale), len(mine.others)) == (own, everybody - own)
    all_of_them = stale([there], {"main"}, sweeper=replace(SWEEPER, everybody=True))
    assert (len(all_of_them.stale), len(all_of_them.others)) == (everybody, 0)


@pytest.mark.parametrize(
    ("pushed", "private", "reason"),
    [(True, True, []), (True, False, ["its branch is gone"]), (False, False, [])],
)
def test_a_branch_of_this_clone_counts_here_and_where_it_was_never_pushed(
    pushed: bool, private: bool, reason: list[str]
) -> None:
    local = frozenset({"feature/x"})
    sweep = stale([replace(THERE, pushed=pushed)], {"main"}, local=local, private=private)
    assert [item.reason for item in sweep.stale] == reason


@pytest.mark.parametrize(
    ("pin", "stays"),
    [
        (Pinned(OVER, "ada@host"), True),
        (Pinned(OVER, "ada@host", (NOW + timedelta(days=1)).isoformat()), True),
        (Pinned(OVER, "ada@host", OVER), False),
    ],
)
@pytest.mark.parametrize("branches", [{"feature/x"}, {"main"}])
def test_what_is_pinned_stays_until_the_pin_ends(
    pin: Pinned, branches: set[str], *, stays: bool
) -> None:
    found = stale([replace(THERE, expires_at=OVER, rest=Rest(pin=pin))], branches)
    assert (found.stale == ()) is stays


def test_what_is_swept_is_not_put_to_sleep_as_well() -> None:
    used = Rest(used_at=(NOW - timedelta(days=3)).isoformat())
    found = [replace(THERE, rest=used), replace(THERE, branch="gone", rest=used)]
    sweep = find_sweep(
        "dev",
        FakeInspector(found),
        FakeGit(remote=frozenset({"feature/x"})),  # type: ignore[arg-type]
        SWEEPER,
        rule=SleepRule(idle_hours=1),
        now=NOW,
    )
    assert [(step.verb, step.subject) for step in sweep.steps] == [
        ("sleep", "environment feature/x"),
        ("remove", "environment gone"),
    ]


def test_a_row_tells_age_last_deploy_owner_and_reason() -> None:
    never = replace(THERE, branch="never", owner="", deployed_at="", created_at="")
    theirs = replace(THERE, branch="theirs", owner="bob@laptop", checkout="bob@laptop:/x")
    sweep = stale([THERE, never, theirs], {"main"})
    (_, mine), (columns, others) = sweep.tables(NOW)
    assert mine == [
        ("feature/x", "3d", "2h", "ada@host", "its branch is gone"),
        ("never", "-", "-", "-", "its branch is gone"),
    ]
    assert columns[-1] == "reason; removed with --all"
    assert others == [
        ("theirs", "3d", "2h", "bob@laptop", "bob@laptop:/x", "its branch is gone"),
    ]
    assert [item["branch"] for item in sweep.as_dict()["environments"]] == ["feature/x", "never"]
    assert [item["branch"] for item in sweep.as_dict()["others"]] == ["theirs"]


# -- carrying it out ------------------------------------------------------------------------------


def sweep_of(*found: EnvironmentSummary) -> SweepPlan:
    return stale(found, {"main"}, environment="local")


def sweep(remover: FakeRemover, inspector: FakeInspector, root: Path) -> str:
    console, said = a_console()
    run_sweep(
        sweep_of(*inspector.found),
        remover,
        inspector,
        names_of,
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
            me=ME,
            console=console,
            root=tmp_path,
        )
    assert "it was deployed again meanwhile, and was left alone" in said.getvalue()
    assert remover.seen == []


def test_a_misnamed_environment_goes_by_its_namespace_and_its_branch_s_own_one_stays(
    tmp_path: Path,
) -> None:
    stray = replace(THERE, state=State.MISNAMED, namespace="mautic-feature-x-0123456789")
    theirs = replace(stray, repository="theirs")
    found = stale([THERE, stray, theirs], {"feature/x"})
    assert [item.summary for item in found.stale] == [stray]
    (step,) = found.steps
    assert step.subject == "environment feature/x in mautic-feature-x-0123456789"
    assert step.reason == "its namespace is not what the naming rule gives its branch"
    remover, (console, said) = FakeRemover(), a_console()
    run_sweep(
        found,
        remover,
        FakeInspector([THERE], [stray]),
        names_of,
        me=ME,
        console=console,
        root=tmp_path,
    )
    assert remover.seen == ["remove mautic-feature-x-0123456789"]
    assert "feature/x in mautic-feature-x-0123456789: 1 objects removed" in said.getvalue()


def test_an_interrupted_sweep_finishes_what_is_under_way_and_begins_nothing(
    tmp_path: Path,
) -> None:
    step = Step("remove", "container web")
    others = [replace(THERE, branch=f"feature/{number}") for number in range(3)]
    remover = FakeRemover(left=[step])
    remover.fails = {"lock": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        sweep(remover, FakeInspector(others), tmp_path)
    # Which of the others had begun by then is the threads' business.
    assert remover.seen.count("unlock") == remover.seen.count("lock") - 1
    remover.seen.clear()
    said = sweep(remover, FakeInspector(others), tmp_path)
    assert "3 removed" in said
    assert remover.left == []


# -- looking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_private", [False, True])
def test_branches_are_read_before_environments(is_private: bool) -> None:
    """What is pushed and deployed at this moment is not taken for gone."""
    seen: list[str] = []

    class Inspector(FakeInspector):
        def list(self, repository: str = "") -> Sequence[EnvironmentSummary]:
            seen.append("environments")
            return super().list(repository)

    git = FakeGit(remote=frozenset({"main"}), local=frozenset({"feature/x"}), seen=seen)
    found = find_sweep(
        "local",
        Inspector([THERE], is_private=is_private),
        git,  # type: ignore[arg-type]
        SWEEPER,
        now=NOW,
    )
    assert seen == ["remote branches", "local branches", "environments"]
    # A branch of this clone counts where its environments are this machine's own.
    assert [item.summary.branch for item in found.stale] == ([] if is_private else ["feature/x"])


def test_a_branch_that_the_suite_refuses_does_not_end_the_sweep() -> None:
    """Anybody may push one."""
    git = FakeGit(remote=frozenset({"main", "a\u202eb", "x\x9by"}), seen=[])
    found = find_sweep(
        "local",
        FakeInspector([THERE]),
        git,  # type: ignore[arg-type]
        SWEEPER,
        now=NOW,
    )
    assert [item.summary.branch for item in found.stale] == ["feature/x"]


def names_of(branch: str) -> Names:
    return replace(NAMES, branch=check_branch(branch))
