"""Which environments are stale."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.core.environment import State
from tasks.core.errors import SuiteError
from tasks.core.names import Names, check_branch
from tasks.core.plan import Step
from tasks.flows.gc import (
    LeftoverTags,
    SweepPlan,
    find_sweep,
    plan_leftovers,
    plan_sweep,
    run_sweep,
)
from tasks.flows.target import EnvironmentSummary
from tests.support.fakes import ME, NAMES, FakeInspector, FakeRemover, a_console
from tests.support.fakes_images import FakeGit, FakeRegistry

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


def sweep_of(*found: EnvironmentSummary) -> SweepPlan:
    return plan_sweep("local", found, repository="ours", branches={"main"}, now=NOW)


def sweep(
    remover: FakeRemover,
    inspector: FakeInspector,
    root: Path,
    registry: FakeRegistry | None = None,
    leftovers: tuple[LeftoverTags, ...] = (),
) -> str:
    console, said = a_console()
    run_sweep(
        replace(sweep_of(*inspector.found), leftovers=leftovers),
        remover,
        inspector,
        names_of,
        tags=registry,
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
    assert "it was deployed again meanwhile, and was left alone" in said.getvalue()
    assert remover.seen == []


def test_a_misnamed_environment_goes_by_its_namespace_and_its_branch_s_own_one_stays(
    tmp_path: Path,
) -> None:
    stray = replace(THERE, state=State.MISNAMED, namespace="mautic-feature-x-0123456789")
    theirs = replace(stray, repository="theirs")
    found = plan_sweep(
        "dev", [THERE, stray, theirs], repository="ours", branches={"feature/x"}, now=NOW
    )
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
        tags=None,
        me=ME,
        console=console,
        root=tmp_path,
    )
    assert remover.seen == ["remove mautic-feature-x-0123456789"]
    assert "feature/x in mautic-feature-x-0123456789: 1 objects removed" in said.getvalue()


def test_misnamed_environments_are_found_and_keep_no_image_tags() -> None:
    stray = replace(THERE, state=State.MISNAMED, slug="feature-x-0123456789", tag="")
    registry = FakeRegistry()
    for tag in ("gone", f"branch.{stray.slug}.gone"):
        registry.push("nginx", tag, "x")
    found = find_sweep(
        "local",
        FakeInspector([], [stray]),
        FakeGit(remote=frozenset({"main"})),  # type: ignore[arg-type]
        names_of,
        tags=registry,
        now=NOW,
    )
    assert [item.summary for item in found.stale] == [stray]
    assert [each.tags for each in found.leftovers] == [("gone", f"branch.{stray.slug}.gone")]


@pytest.mark.parametrize("end", [None, SuiteError("in use")], ids=["", "one environment stays"])
def test_image_tags_go_whatever_becomes_of_the_environments(
    tmp_path: Path, end: SuiteError | None
) -> None:
    step = Step("remove", "container web")
    remover, registry = FakeRemover(left=[step]), FakeRegistry()
    remover.fails = {"remove container web": [end] if end else []}
    registry.seen = remover.seen
    for tag in ("gone", "branch.gone.gone", "used", "branch.gone.used", "new", "branch.gone.new"):
        registry.push("nginx", tag, tag)
    left = plan_leftovers({"nginx": registry.tags("nginx")}, [replace(THERE, tag="used")], {"main"})
    # While the plan was shown somebody has built another branch of the same commit.
    registry.push("nginx", "branch.main.new", "new")
    with pytest.raises(SuiteError, match="1 of 1") if end else contextlib.nullcontext():
        sweep(remover, FakeInspector([THERE]), tmp_path, registry, left)
    assert remover.seen == [
        *("plan", "lock", "plan", "remove container web", "unlock"),
        "delete nginx gone",
        "delete nginx branch.gone.gone branch.gone.new branch.gone.used",
    ]
    assert registry.images["nginx"].keys() == {"used", "new", "branch.main.new"}


def test_an_interrupted_sweep_finishes_what_is_under_way_and_begins_nothing(
    tmp_path: Path,
) -> None:
    step = Step("remove", "container web")
    others = [replace(THERE, branch=f"feature/{number}") for number in range(3)]
    remover, registry = FakeRemover(left=[step]), FakeRegistry()
    remover.fails = {"lock": [KeyboardInterrupt()]}
    registry.push("nginx", "gone", "x")
    left = (LeftoverTags("nginx", frozenset({"gone"}), ("gone",), frozenset()),)
    with pytest.raises(KeyboardInterrupt):
        sweep(remover, FakeInspector(others), tmp_path, registry, left)
    # Which of the others had begun by then is the threads' business.
    assert remover.seen.count("unlock") == remover.seen.count("lock") - 1
    assert registry.images["nginx"] == {"gone": "x"}
    remover.seen.clear()
    said = sweep(remover, FakeInspector(others), tmp_path)
    assert "3 removed" in said
    assert remover.left == []


# -- looking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_private", [False, True])
def test_tags_are_read_before_branches_and_branches_before_environments(is_private: bool) -> None:
    """What is pushed, built and deployed at this moment is taken for gone by no order of them."""
    seen: list[str] = []

    class Inspector(FakeInspector):
        def list(self, repository: str = "") -> Sequence[EnvironmentSummary]:
            seen.append("environments")
            return super().list(repository)

    class Registry(FakeRegistry):
        def tags(self, repository: str) -> dict[str, str]:
            seen.append(f"tags of {repository}")
            return super().tags(repository)

    git = FakeGit(remote=frozenset({"main"}), local=frozenset({"feature/x"}), seen=seen)
    found = find_sweep(
        "local",
        Inspector([THERE], is_private=is_private),
        git,  # type: ignore[arg-type]
        names_of,
        tags=Registry(),
        now=NOW,
    )
    own = ["local branches"] if is_private else []
    assert seen == ["tags of mautic", "tags of nginx", "remote branches", *own, "environments"]
    # A branch that was never pushed counts where its environments are this machine's own.
    assert [item.summary.branch for item in found.stale] == ([] if is_private else ["feature/x"])


def test_a_branch_that_the_suite_refuses_does_not_end_the_sweep() -> None:
    """Anybody may push one."""
    git = FakeGit(remote=frozenset({"main", "a\u202eb", "x\x9by"}), seen=[])
    found = find_sweep(
        "local",
        FakeInspector([THERE]),
        git,  # type: ignore[arg-type]
        names_of,
        tags=None,
        now=NOW,
    )
    assert [item.summary.branch for item in found.stale] == ["feature/x"]


def names_of(branch: str) -> Names:
    return replace(NAMES, branch=check_branch(branch))
