"""What the suite reads of a checkout: real repositories in every odd state."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tasks.adapters.git import Checkout, Git
from tasks.adapters.process import Runner
from tasks.core.errors import InputError
from tasks.core.names import check_branch
from tasks.core.redact import Redactor
from tests.support.suite import commit_all, git

SHARED = "https://gitlab.example.org/g/p"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init", "--quiet")
    (path / "file").write_text("one\n")
    (path / ".gitignore").write_text("ignored\n")
    commit_all(path)
    return path


def at(path: Path, **environ: str) -> Git:
    return Git(Runner(Redactor()), path, environ)


def dirt(path: Path) -> str | None:
    return at(path).checkout().dirty


# -- the branch -----------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["main", "feature/x", "héllo/分支", "a'b$(c)"])
def test_the_branch_that_is_checked_out(repository: Path, branch: str) -> None:
    git(repository, "checkout", "--quiet", "-B", branch)
    assert at(repository).branch() == branch
    (repository / "deep" / "down").mkdir(parents=True)
    assert at(repository / "deep" / "down").branch() == branch


def test_a_branch_without_a_commit_has_a_name_already(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert at(tmp_path).branch() == "main"


def test_a_detached_head_is_bad_input_outside_ci(repository: Path) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    with pytest.raises(InputError, match="HEAD is detached") as caught:
        at(repository).branch()
    assert "--branch" in (caught.value.hint or "")


def test_a_branch_that_is_not_utf8_is_not_taken_for_another(repository: Path) -> None:
    ref = repository / ".git" / "refs" / "heads" / os.fsdecode(b"caf\xe9")
    ref.write_text(git(repository, "rev-parse", "HEAD") + "\n")
    (repository / ".git" / "HEAD").write_bytes(b"ref: refs/heads/caf\xe9\n")
    with pytest.raises(InputError, match="not valid UTF-8"):
        check_branch(at(repository).branch())


@pytest.mark.parametrize(
    ("environ", "branch"),
    [
        ({"CI_COMMIT_BRANCH": "feature/x"}, "feature/x"),
        ({"CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature/y"}, "feature/y"),
        ({"CI_COMMIT_BRANCH": "", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "y"}, "y"),
    ],
)
def test_in_ci_the_job_says_the_branch(
    repository: Path, environ: dict[str, str], branch: str
) -> None:
    git(repository, "checkout", "--quiet", "--detach")
    assert at(repository, **environ).branch() == branch


def test_a_folder_that_is_no_repository_is_bad_input(tmp_path: Path) -> None:
    for call in ("branch", "checkout", "repository"):
        with pytest.raises(InputError, match="is not a git repository"):
            getattr(at(tmp_path), call)()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_checkout_of_another_user_is_bad_input(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    os.chown(repository, 65534, 65534)
    os.chown(repository / ".git", 65534, 65534)
    with pytest.raises(InputError, match="belongs to another user") as caught:
        at(repository).branch()
    assert f"safe.directory {repository}" in (caught.value.hint or "")


# -- the commit -----------------------------------------------------------------------------------


def test_a_clean_checkout(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    found = at(repository).checkout()
    assert found == Checkout(commit, None)
    assert found.tag == found.short == commit[:8]


def test_no_commit_yet_is_bad_input(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(InputError, match="no commit yet"):
        at(tmp_path).checkout()


def test_a_detached_head_and_a_shallow_clone_have_a_commit(
    repository: Path, tmp_path: Path
) -> None:
    commit_all(repository)
    commit = git(repository, "rev-parse", "HEAD")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(clone))
    git(clone, "checkout", "--quiet", "--detach")
    assert at(clone).checkout() == Checkout(commit, None)


def test_a_worktree_is_a_checkout(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(tree))
    assert at(tree).branch() == "other"
    (tree / "file").write_text("changed\n")
    assert dirt(tree)
    assert dirt(repository) is None


# -- dirt -----------------------------------------------------------------------------------------


def test_every_kind_of_change_is_dirt_and_looks_different(repository: Path) -> None:
    def edited(path: Path) -> None:
        (path / "file").write_text("two\n")

    def staged(path: Path) -> None:
        (path / "file").write_text("three\n")
        git(path, "add", "file")

    def deleted(path: Path) -> None:
        (path / "file").unlink()

    def renamed(path: Path) -> None:
        git(path, "mv", "file", "renamed")

    def executable(path: Path) -> None:
        (path / "file").chmod(0o755)

    def untracked(path: Path) -> None:
        (path / "new").write_text("x")

    def untracked_in_a_folder(path: Path) -> None:
        (path / "folder").mkdir()
        (path / "folder" / "new").write_text("x")

    def linked(path: Path) -> None:
        (path / "link").symlink_to("/nowhere")

    def binary(path: Path) -> None:
        (path / "file").write_bytes(b"\0\xff\xfe")

    kinds = (
        *(edited, staged, deleted, renamed, executable, untracked, untracked_in_a_folder),
        *(linked, binary),
    )
    found = {}
    for kind in kinds:
        copy = repository.parent / kind.__name__
        shutil.copytree(repository, copy, symlinks=True)
        kind(copy)
        found[kind.__name__] = dirt(copy)
    assert all(re.fullmatch("[0-9a-f]{8}", mark or "") for mark in found.values()), found
    assert len(set(found.values())) == len(kinds), found


@pytest.mark.parametrize("name", ["a b", "a\nb", 'quo"te', "héllo", "-rf", "a\\b", "\t"])
def test_files_with_odd_names_count(repository: Path, name: str) -> None:
    (repository / name).write_text("one")
    first = dirt(repository)
    (repository / name).write_text("two")
    second = dirt(repository)
    assert first and second
    assert first != second


def test_a_file_name_that_is_not_utf8_counts(repository: Path) -> None:
    path = repository / os.fsdecode(b"caf\xe9")
    path.write_text("one")
    first = dirt(repository)
    path.write_text("two")
    assert first
    assert dirt(repository) not in {None, first}


def test_the_same_dirt_has_the_same_mark_and_the_tag_shows_it(repository: Path) -> None:
    (repository / "file").write_text("two\n")
    first = at(repository).checkout()
    assert first == at(repository).checkout()
    assert first.tag == f"{first.short}-dirty-{first.dirty}"


def test_ignored_files_and_touched_files_are_not_dirt(repository: Path) -> None:
    (repository / "ignored").write_text("x")
    (repository / "file").touch()
    assert dirt(repository) is None


def test_asking_changes_nothing(repository: Path) -> None:
    (repository / "file").touch()
    index = (repository / ".git" / "index").read_bytes()
    at(repository).checkout()
    assert (repository / ".git" / "index").read_bytes() == index


# -- the repository -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://gitlab.example.org/g/p.git", SHARED),
        ("https://ci:t0ken@gitlab.example.org/g/p.git", SHARED),
        ("https://t0ken@gitlab.example.org:8443/g/p", SHARED),
        ("ssh://git@gitlab.example.org:22/g/p.git", SHARED),
        ("git@gitlab.example.org:g/p.git", SHARED),
        ("../elsewhere", "../elsewhere"),
        ("file:///srv/git/p.git", "file:///srv/git/p.git"),
    ],
)
def test_the_repository_is_the_same_by_every_protocol_and_without_credentials(
    repository: Path, remote: str, shown: str
) -> None:
    git(repository, "remote", "add", "origin", remote)
    assert at(repository).repository() == shown


def test_a_job_without_a_checkout_has_gitlabs_word_for_the_repository(tmp_path: Path) -> None:
    job = {"CI_JOB_ID": "7", "CI_PROJECT_URL": "https://gitlab.example.org/g/p"}
    assert at(tmp_path, **job).repository() == SHARED
    # Outside a job the checkout is asked, whatever is left in the environment.
    with pytest.raises(InputError):
        at(tmp_path, CI_PROJECT_URL="https://gitlab.example.org/g/p").repository()


def test_the_default_branch_is_cis_or_origins_or_main(repository: Path) -> None:
    assert at(repository).default_branch() == "main"
    git(repository, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
    assert at(repository).default_branch() == "trunk"
    assert at(repository, CI_DEFAULT_BRANCH="master").default_branch() == "master"


def test_without_origin_the_repository_is_its_path(repository: Path) -> None:
    assert at(repository).repository() == str(repository)


# -- is a commit on a branch? ---------------------------------------------------------------------


def test_a_commit_is_on_a_branch_here_or_at_origin(repository: Path, tmp_path: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "checkout", "--quiet", "-b", "other")
    second = commit_all(repository)
    assert at(repository).is_on(first, "main")
    assert not at(repository).is_on(second, "main")
    assert at(repository).is_on(second, "other")
    assert not at(repository).is_on(second, "no-such-branch")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repository), str(clone))
    assert at(clone).is_on(first, "main")
    assert not at(clone).is_on(second, "main")


def test_a_shallow_clone_that_cannot_tell_says_so(repository: Path, tmp_path: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    newest = commit_all(repository)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(clone))
    assert at(clone).is_on(newest, "main")
    with pytest.raises(InputError, match="shallow clone cannot tell") as caught:
        at(clone).is_on(first, "main")
    assert "--unshallow" in (caught.value.hint or "")
