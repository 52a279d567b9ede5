"""A branch that a command line names, in real clones: whether it is one, and what goes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.suite import Inv, git

JOB = {"CI": "true", "CI_JOB_ID": "7", "CI_COMMIT_BRANCH": "feature/nwe"}


@pytest.fixture
def clone(checkout: Path, tmp_path: Path) -> Path:
    """Return a clone on main, whose remote has got one more branch since."""
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(checkout), str(remote))
    git(checkout, "remote", "add", "origin", str(remote))
    git(checkout, "fetch", "--quiet", "origin")
    git(remote, "branch", "feature/new", "main")
    return checkout


def test_a_branch_that_is_nowhere_is_refused_with_the_nearest(inv: Inv, clone: Path) -> None:
    for task in ("build", "deploy"):
        done = inv(clone, task, "--dry-run", "--branch", "feature/nwe")
        assert done.returncode == 2, done.stderr
        assert "there is no branch feature/nwe, neither here nor on the remote" in done.stderr
        assert "did you mean feature/new? --new makes" in done.stderr


@pytest.mark.parametrize("options", [("feature/new",), ("main",), ("feature/nwe", "--new")])
def test_a_branch_that_is_somewhere_goes_on(
    inv: Inv, clone: Path, options: tuple[str, ...]
) -> None:
    # To the next question: there is no engine.
    nowhere = {"DOCKER_HOST": "unix:///nonexistent.sock"}
    done = inv(clone, "deploy", "--dry-run", "--branch", *options, env=nowhere)
    assert done.returncode == 1, done.stderr
    assert "the Docker Engine" in done.stderr
    assert "is checked out" not in done.stderr


def test_a_job_s_clone_knows_no_branch(inv: Inv, clone: Path) -> None:
    git(clone, "checkout", "--quiet", "--detach")
    git(clone, "branch", "--quiet", "-D", "main")
    # To the next question: its images are not there.
    registry = {"kind": "oci", "url": "localhost:1/mautic"}
    nothing = {"project": "mtnothing", "environments": {"local": {"registry": registry}}}
    words = ("deploy", "--env", "local", "--dry-run", "--branch", "feature/nwe")
    done = inv(clone, *words, settings=nothing, env=JOB)
    assert done.returncode == 1, done.stderr
    assert "localhost:1 cannot be reached" in done.stderr


def test_other_code_under_a_branch_s_name_is_told(inv: Inv, clone: Path) -> None:
    git(clone, "checkout", "--quiet", "-b", "mine")
    git(clone, "commit", "--quiet", "--allow-empty", "-m", "mine")
    commit, main = git(clone, "rev-parse", "HEAD")[:8], git(clone, "rev-parse", "main")[:8]
    env = {"DOCKER_HOST": "unix:///nonexistent.sock"}
    done = inv(clone, "deploy", "--dry-run", "--branch", "main", env=env)
    assert f"! main is at {main}, and {commit} is checked out" in done.stderr
    assert "the Docker Engine" in done.stderr


@pytest.mark.parametrize("task", ["status", "sleep", "wake", "pin"])
def test_what_has_no_environment_is_told_a_command_that_makes_one(
    task: str, inv: Inv, clone: Path
) -> None:
    # Of feature/new only the remote knows, and it is not asked.
    if_none = " (--new if no branch has that name)"
    for branch, new in (("main", ""), ("feature/new", if_none), ("feature/nwe", if_none)):
        done = inv(clone, task, "--branch", branch, settings={"project": "mtnothing"})
        assert done.returncode == 2, done.stderr
        command = f"inv deploy --env local --branch {branch}{new}"
        assert done.stderr.splitlines()[-1] == f"  hint: make one: {command}"


def test_a_clean_up_of_a_name_that_is_nowhere_says_so(inv: Inv, clone: Path) -> None:
    nothing = {"project": "mtnothing"}
    for branch, told in (
        ("main", "main: nothing to remove\n"),
        ("feature/nwe", "neither here nor on the remote; did you mean feature/new?\n"),
    ):
        done = inv(clone, "cleanup", "--branch", branch, "--format", "json", settings=nothing)
        assert done.returncode == 0, done.stderr
        assert done.stderr.endswith(told)
        assert json.loads(done.stdout) == {"environment": "local", "branch": branch, "removed": 0}
