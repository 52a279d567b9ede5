"""What has changed, as git tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import changes
from tests.support.suite import commit_all, git


def test_commits_of_the_branch_and_what_is_not_committed_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ROOT", tmp_path)
    git(tmp_path, "init", "--quiet")
    for name in ("kept", "edited", "committed", "removed", "renamed"):
        (tmp_path / name).write_text(f"{name} of main\n" * 9)
    commit_all(tmp_path)
    assert changes.changed_files() == []
    git(tmp_path, "switch", "--quiet", "--create", "feature/x")
    (tmp_path / "committed").write_text("ours\n")
    git(tmp_path, "rm", "--quiet", "removed")
    git(tmp_path, "mv", "renamed", "über")
    commit_all(tmp_path)
    (tmp_path / "edited").write_text("not committed\n")
    (tmp_path / "new").touch()
    expected = ["committed", "edited", "new", "removed", "renamed", "über"]
    assert changes.changed_files() == expected
    # What others have committed to main since then is not ours.
    git(tmp_path, "worktree", "add", "--quiet", str(tmp_path / ".git" / "other"), "main")
    (tmp_path / ".git" / "other" / "theirs").touch()
    commit_all(tmp_path / ".git" / "other")
    assert changes.changed_files() == expected


def test_without_a_default_branch_only_what_is_not_committed_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "ROOT", tmp_path)
    git(tmp_path, "init", "--quiet", "--initial-branch", "trunk")
    (tmp_path / "old").touch()
    commit_all(tmp_path)
    (tmp_path / "new").touch()
    assert changes.changed_files() == ["new"]
