"""What the suite reads of a checkout: real repositories in every odd state."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tasks.adapters.docker.build_context import BuiltFrom
from tasks.adapters.git import Checkout, Git
from tasks.adapters.process import Runner
from tasks.core.errors import InputError
from tasks.core.names import check_branch
from tasks.core.redact import Redactor
from tests.support.suite import commit_all, git

NOTHING = BuiltFrom((), frozenset())
"""No image is built; for what the images hold see test_committed.py."""


class Everything:
    """Images are built from every file."""

    def paths(self) -> frozenset[str]:
        return frozenset()

    def holds(self, path: str) -> bool:
        return True


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
    return at(path).checkout(Everything()).dirty


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
    for call in ("branch", "commit", "repository"):
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
    found = at(repository).checkout(NOTHING)
    assert found == Checkout(commit, None)
    assert found.tag == found.short == commit[:8]


def test_no_commit_yet_is_bad_input(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    with pytest.raises(InputError, match="no commit yet"):
        at(tmp_path).checkout(NOTHING)


def test_a_detached_head_and_a_shallow_clone_have_a_commit(
    repository: Path, tmp_path: Path
) -> None:
    commit_all(repository)
    commit = git(repository, "rev-parse", "HEAD")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", str(clone))
    git(clone, "checkout", "--quiet", "--detach")
    assert at(clone).checkout(NOTHING) == Checkout(commit, None)


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
    first = at(repository).checkout(NOTHING)
    assert first == at(repository).checkout(NOTHING)
    assert first.tag == f"{first.short}-dirty-{first.dirty}"


def test_ignored_files_and_touched_files_are_not_dirt(repository: Path) -> None:
    (repository / "ignored").write_text("x")
    (repository / "file").touch()
    assert dirt(repository) is None


def test_a_new_file_is_dirt_where_something_reads_it(repository: Path) -> None:
    (repository / "build.log").write_text("one")
    (repository / "notes").mkdir()
    (repository / "notes" / "x").write_text("one")
    assert at(repository).checkout(NOTHING).dirty is None
    for folder in ("helm", "docker", "tasks"):
        (repository / folder).mkdir()
        (repository / folder / "x").write_text("one")
        assert at(repository).checkout(NOTHING).dirty
        shutil.rmtree(repository / folder)
    (repository / "file").write_text("two\n")
    first = at(repository).checkout(NOTHING)
    (repository / "build.log").write_text("one, and two")
    assert first.dirty
    assert at(repository).checkout(NOTHING) == first


def test_asking_changes_nothing(repository: Path) -> None:
    (repository / "file").touch()
    index = (repository / ".git" / "index").read_bytes()
    at(repository).checkout(NOTHING)
    assert (repository / ".git" / "index").read_bytes() == index


# -- line ends ------------------------------------------------------------------------------------


def test_a_clone_has_line_feeds_whatever_autocrlf_says(checkout: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    options = ("-c", "core.autocrlf=true", "-c", "core.eol=crlf")
    git(tmp_path, *options, "clone", "--quiet", str(checkout), str(clone))
    assert b"\r" not in (clone / "inv").read_bytes()
    assert at(clone).with_other_line_ends(".") == []


@pytest.mark.parametrize("name", ["file", "a b", "héllo", "a\tb"])
def test_a_file_with_other_line_ends_than_committed_is_named(repository: Path, name: str) -> None:
    (repository / "bare").write_text("one\n")
    (repository / "windows").write_bytes(b"one\r\n")
    (repository / "binary").write_bytes(b"\0one\n")
    (repository / name).write_text("one\ntwo\n")
    commit_all(repository)
    assert at(repository).with_other_line_ends(".") == []
    for content in (b"one\r\ntwo\r\n", b"one\r\ntwo\n"):
        (repository / name).write_bytes(content)
        assert at(repository).with_other_line_ends(".") == [name]


# -- the repository -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://gitlab.example.org/g/p.git", SHARED),
        ("https://ci:t0ken@gitlab.example.org/g/p.git", SHARED),
        ("https://t0ken@gitlab.example.org:8443/g/p", SHARED),
        ("ssh://git@gitlab.example.org:22/g/p.git", SHARED),
        ("git@gitlab.example.org:g/p.git", SHARED),
        ("git@GitLab.Example.org:g/p.git", SHARED),
        ("ssh://git@gitlab.example.org:2222/g/p.git", SHARED),
        ("file:///srv/git/p.git", "/srv/git/p"),
    ],
)
def test_the_repository_is_the_same_by_every_protocol_and_without_credentials(
    repository: Path, remote: str, shown: str
) -> None:
    git(repository, "remote", "add", "origin", remote)
    assert at(repository).repository() == shown


def test_a_remote_is_what_has_an_address(repository: Path) -> None:
    git(repository, "config", "remote.origin.prune", "true")
    assert not at(repository).has_remote()
    git(repository, "remote", "add", "upstream", "https://git.example.org/acme/mautic.git")
    assert at(repository).has_remote()
    assert at(repository).repository() == "https://git.example.org/acme/mautic"


def test_a_job_without_a_checkout_has_gitlabs_word_for_the_repository(tmp_path: Path) -> None:
    job = {"CI_JOB_ID": "7", "CI_PROJECT_URL": "https://gitlab.example.org/g/p"}
    assert at(tmp_path, **job).repository() == SHARED
    # Outside a job the checkout is asked, whatever is left in the environment.
    with pytest.raises(InputError):
        at(tmp_path, CI_PROJECT_URL="https://gitlab.example.org/g/p").repository()


@pytest.fixture
def ssh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's SSH configuration, which git uses in this test."""
    path = tmp_path / "ssh config"
    path.write_text(
        "Host work\n  HostName gitlab.example.org\n  Port 2222\n"
        "Host *.corp\n  HostName gitlab.example.org\n"
    )
    monkeypatch.delenv("GIT_SSH_COMMAND", raising=False)
    return path


@pytest.mark.parametrize("remote", ["work:g/p.git", "git@x.corp:g/p", "ssh://git@work/g/p.git"])
def test_an_alias_of_ssh_is_the_host_it_stands_for(
    repository: Path, ssh_config: Path, remote: str
) -> None:
    command = f"ssh -F '{ssh_config}'"
    git(repository, "remote", "add", "origin", remote)
    assert at(repository, GIT_SSH_COMMAND=command).repository() == SHARED
    git(repository, "config", "core.sshCommand", command)
    assert at(repository).repository() == SHARED
    # A person's `insteadOf` is git's own kind of alias.
    git(repository, "config", "url.https://gitlab.example.org/.insteadOf", "gl:")
    git(repository, "remote", "set-url", "origin", "gl:g/p")
    assert at(repository).repository() == SHARED


@pytest.mark.parametrize("command", ["no-such-program", "false", "'", "echo hostname other"])
def test_without_openssh_a_host_is_what_it_is_called(repository: Path, command: str) -> None:
    git(repository, "remote", "add", "origin", "git@gitlab.example.org:g/p.git")
    assert at(repository, GIT_SSH_COMMAND=command).repository() == SHARED


def test_no_address_is_taken_for_an_option_of_ssh(repository: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    git(repository, "remote", "add", "origin", "x")
    git(repository, "config", "remote.origin.url", f"-oProxyCommand=touch {made}:g/p")
    at(repository).repository()
    assert not made.exists()


def test_a_remote_of_another_name_is_the_one_that_is_asked(
    repository: Path, tmp_path: Path
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "branch", "other")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--origin", "gitlab", str(repository), str(clone))
    own = at(clone)
    assert own.repository() == str(repository)
    assert own.remote_branches() == {"main", "other"}
    assert own.default_branch() == "main"
    assert own.is_on(first, "other")
    git(clone, "remote", "set-head", "gitlab", "other")
    assert own.default_branch() == "other"


def test_newest_commits_of_branches_and_whether_one_was_ever_pushed(
    repository: Path, tmp_path: Path
) -> None:
    first = git(repository, "rev-parse", "HEAD")
    git(repository, "branch", "other")
    path = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repository), str(path))
    git(path, "switch", "--quiet", "-c", "own/one")
    (path / "new").write_text("new")
    commit_all(path)
    own = at(path)
    assert own.remote_heads() == {"main": first, "other": first}
    assert own.heads() == {"main": first, "own/one": git(path, "rev-parse", "HEAD")}
    assert not own.was_pushed("own/one")
    assert not own.was_pushed("other/one")
    # What is gone from there was there once.
    git(repository, "branch", "-D", "other")
    assert own.was_pushed("other")
    git(path, "push", "--quiet", "origin", "own/one")
    assert own.was_pushed("own/one")
    assert at(path, CI_JOB_ID="1").was_pushed("whatever")


def test_of_several_remotes_origin_is_meant_or_what_git_is_told(repository: Path) -> None:
    for name in ("fork", "upstream"):
        git(repository, "remote", "add", name, f"https://gitlab.example.org/{name}/p.git")
    with pytest.raises(InputError, match=r"several remotes \(fork, upstream\)") as caught:
        at(repository).repository()
    assert "git config checkout.defaultRemote" in (caught.value.hint or "")
    git(repository, "config", "branch.main.remote", "fork")
    assert at(repository).repository() == "https://gitlab.example.org/fork/p"
    git(repository, "config", "checkout.defaultRemote", "upstream")
    assert at(repository).repository() == "https://gitlab.example.org/upstream/p"
    git(repository, "remote", "add", "origin", SHARED)
    assert at(repository).repository() == SHARED


def test_where_a_branch_is_checked_out_is_known_of_all_worktrees(
    repository: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "a tree"
    git(repository, "worktree", "add", "--quiet", "-b", "feature/x", str(tree))
    git(repository, "branch", "nowhere")
    own = at(repository)
    assert own.place_of("feature/x") == str(tree)
    assert own.place_of("nowhere") == own.place_of("feature") == ""


def test_all_worktrees_of_a_clone_are_one_repository(repository: Path, tmp_path: Path) -> None:
    tree = tmp_path / "deep" / "tree"
    git(repository, "worktree", "add", "--quiet", "-b", "other", str(tree))
    assert at(tree).repository() == at(repository).repository() == str(repository)
    git(repository, "remote", "add", "origin", "../elsewhere.git")
    assert at(tree).repository() == at(repository).repository()
    assert at(repository).repository() == str(repository.parent / "elsewhere")
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    git(bare, "remote", "remove", "origin")
    for name in ("one", "two"):
        git(bare, "worktree", "add", "--quiet", "-b", name, str(tmp_path / name))
    assert at(tmp_path / "one").repository() == at(tmp_path / "two").repository() == str(bare)


@pytest.mark.parametrize(
    ("server", "project"),
    [
        ("https://gitlab.example.org/", "https://gitlab.example.org/g/p"),
        ("https://gitlab.example.org", "https://gitlab.example.org/g/p"),
        ("https://gitlab.example.org/gitlab", "https://gitlab.example.org/gitlab/g/p"),
        ("https://gitlab.example.org:8443/a/b/", "https://gitlab.example.org:8443/a/b/g/p"),
        ("", "https://gitlab.example.org/g/p"),
    ],
)
def test_a_gitlab_below_a_path_is_the_one_that_ssh_reaches(
    tmp_path: Path, server: str, project: str
) -> None:
    job = {"CI_JOB_ID": "7", "CI_PROJECT_URL": project, "CI_SERVER_URL": server}
    assert at(tmp_path, **job).repository() == SHARED


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


# -- other people's settings ----------------------------------------------------------------------

PERSONAL = """\
[log]
    showSignature = true
    decorate = full
    date = relative
[format]
    pretty = oneline
[color]
    ui = always
[column]
    ui = always
[core]
    abbrev = 4
    quotePath = false
[diff]
    external = false
    noprefix = true
    renames = copies
    ignoreSubmodules = all
[diff "quiet"]
    textconv = true
[status]
    short = true
    branch = true
    showUntrackedFiles = no
    renames = copies
[gpg]
    program = {gpg}
"""
"""What somebody has in their ~/.gitconfig."""


def facts(path: Path) -> dict[str, object]:
    """Return everything that the suite asks of a checkout."""
    own = at(path)
    checkout = own.checkout(NOTHING)
    return {
        "branch": own.branch(),
        "checkout": checkout,
        "committed": own.committed(checkout.commit),
        "branches": own.branches(),
        "remote branches": own.remote_branches(),
        "default branch": own.default_branch(),
        "repository": own.repository(),
        "is on main": own.is_on(checkout.commit, "main"),
    }


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """A clone with a signed commit and two changes, one of them in a file shown by a filter."""
    path = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(repository), str(path))
    (path / "page.x").write_text("one\n")
    (path / ".gitattributes").write_text("*.x diff=quiet\n")
    commit_all(path)
    lines = git(path, "cat-file", "commit", "HEAD").split("\n")
    signature = ("gpgsig -----BEGIN PGP SIGNATURE-----", " ", " x", " -----END PGP SIGNATURE-----")
    at_end = lines.index("")
    signed = path.parent / "signed"
    signed.write_text("\n".join([*lines[:at_end], *signature, *lines[at_end:], ""]))
    sha = git(path, "hash-object", "-t", "commit", "-w", str(signed))
    git(path, "update-ref", "refs/heads/main", sha)
    (path / "page.x").write_text("two\n")
    (path / "new").write_text("x")
    return path


def test_a_person_s_git_settings_change_nothing(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    clean = facts(clone)
    gpg = tmp_path / "gpg"
    gpg.write_text("#!/bin/sh\necho 'gpg: Good signature' >&2; echo '[GNUPG:] GOODSIG x y'\n")
    gpg.chmod(0o755)
    (tmp_path / "gitconfig").write_text(PERSONAL.format(gpg=gpg))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert facts(clone) == clean
    # A filter for people's eyes hides no change.
    before = dirt(clone)
    (clone / "page.x").write_text("three\n")
    assert dirt(clone) != before


def test_a_hook_s_variables_lead_to_no_other_repository(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = facts(clone)
    other = tmp_path / "other"
    git(tmp_path, "init", "--quiet", str(other))
    commit_all(other)
    for name, value in {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
        "GIT_OBJECT_DIRECTORY": str(other / ".git" / "objects"),
        "GIT_COMMON_DIR": str(other / ".git"),
        "GIT_NAMESPACE": "other",
        "GIT_PREFIX": "deep/",
        "GIT_EXTERNAL_DIFF": "false",
        "GIT_LITERAL_PATHSPECS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert facts(clone) == clean
    # Nor do they lead this test's own git there.
    assert git(clone, "rev-parse", "--show-toplevel") == str(clone)


def test_other_references_of_a_branch_s_name_change_nothing(clone: Path) -> None:
    clean = facts(clone)
    git(clone, "tag", "main")
    git(clone, "tag", "heads/main")
    git(clone, "tag", "origin/main")
    git(clone, "tag", "HEAD")
    assert facts(clone) == clean
    commit = git(clone, "rev-parse", "refs/heads/main")
    git(clone, "update-ref", "refs/heads/origin/main", commit)
    assert facts(clone) == {**clean, "branches": {"main", "origin/main"}}


def test_files_that_are_called_like_references_change_nothing(clone: Path) -> None:
    for name in ("HEAD", "main", "origin"):
        (clone / name).write_text("x")
    assert dirt(clone)
    assert at(clone).branch() == "main"


@pytest.mark.parametrize("branch", ["a\u2028b", "a\x85b"])
def test_a_branch_whose_name_python_would_break_into_lines_is_one(
    clone: Path, repository: Path, branch: str
) -> None:
    """Taken for two others, it counted as deleted."""
    git(repository, "branch", branch)
    git(clone, "branch", branch)
    assert at(clone).branches() == {"main", branch}
    assert at(clone).remote_branches() == {"main", branch}
