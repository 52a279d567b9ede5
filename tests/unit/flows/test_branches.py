"""A branch that a command line names: where it is, which one was meant, and what is checked out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tasks.core.errors import CommandError
from tasks.flows.branches import look_for

HERE, THERE, NEWER = "a" * 40, "b" * 40, "c" * 40


@dataclass
class FakeGit:
    """A clone that knows three branches of four."""

    asked: list[str] = field(default_factory=list)
    silent: bool = False
    alone: bool = False

    def heads(self) -> dict[str, str]:
        return {"main": HERE, "feature/login": HERE}

    def tracked(self) -> dict[str, str]:
        return {"main": THERE, "feature/old": THERE}

    def has_remote(self) -> bool:
        return not self.alone

    def remote_heads(self) -> dict[str, str]:
        self.asked.append("origin")
        if self.silent:
            raise CommandError("the branches of origin cannot be read")
        return {"main": NEWER, "feature/new": NEWER}


@pytest.mark.parametrize(
    ("branch", "commits", "asked"),
    [
        ("main", {HERE, THERE}, []),
        ("feature/login", {HERE}, []),
        ("feature/old", {THERE}, []),
        ("feature/new", {NEWER}, ["origin"]),
        ("feature/nwe", set(), ["origin"]),
    ],
)
def test_the_remote_is_asked_only_of_what_the_clone_does_not_know(
    branch: str, commits: set[str], asked: list[str]
) -> None:
    git = FakeGit()
    assert look_for(git, branch).commits == commits
    assert git.asked == asked


def test_of_a_branch_that_is_nowhere_the_nearest_is_told() -> None:
    found = look_for(FakeGit(), "feature/nwe")
    assert found.absence == "there is no branch feature/nwe, neither here nor on the remote"
    assert found.question == "did you mean feature/new? "
    assert look_for(FakeGit(), "zzz").question == ""


def test_a_remote_that_cannot_be_asked_is_told() -> None:
    found = look_for(FakeGit(silent=True), "feature/new")
    assert not found.commits
    assert "(the branches of origin cannot be read)" in found.absence


def test_where_there_is_no_remote_none_is_asked() -> None:
    git = FakeGit(alone=True)
    found = look_for(git, "feature/lgoin")
    assert found.absence == (
        "there is no branch feature/lgoin in this repository, which has no remote"
    )
    assert found.question == "did you mean feature/login? "
    assert git.asked == []


def test_other_code_than_the_branchs_is_told() -> None:
    found = look_for(FakeGit(), "main")
    assert found.other_code(HERE) == found.other_code(THERE) == ""
    assert found.other_code(NEWER) == (
        "main is at aaaaaaaa and bbbbbbbb, and cccccccc is checked out: that is what goes out "
        "under the name of main"
    )


def test_changes_that_were_made_on_another_branch_are_told() -> None:
    found = look_for(FakeGit(), "main")
    assert found.other_code(HERE, changed=True) == (
        "uncommitted changes go out under the name of main, which is not checked out"
    )
    told = found.other_code(NEWER, changed=True)
    assert "cccccccc is checked out with uncommitted changes: that is what goes out" in told
