"""The checkout: its branch, its commit, and whether it is dirty. Reads only."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from urllib.parse import urlsplit

from tasks.adapters.committed import BuildInputs, Comparison, not_checked_out
from tasks.adapters.parallel import map_parallel
from tasks.adapters.process import Completed, Runner
from tasks.core.errors import CommandError, InputError, SuiteError
from tasks.core.repository import canonical

_CONVERTED = re.compile(r"i/lf\s+w/(?:crlf|mixed)\s")
"""Line ends in the index and in the work tree; see git-ls-files(1), "--eol"."""

_BRANCHES = "refs/heads/"
_REMOTES = "refs/remotes/"
_ORIGIN = "origin"

_FETCHED = re.compile(r"^(\S+)\t(.*) \(fetch\)", re.MULTILINE)
"""Name and address of a remote; see git-remote(1), "-v"."""

_STATUS = (
    *("--porcelain=v1", "-z", "--no-renames"),
    *("--untracked-files=all", "--ignore-submodules=none"),
)
"""Every path that differs from HEAD, by itself, whatever a person has set; see git-status(1)."""

_NEW = "??"
"""How `git status` marks a file that is in no commit."""

_READ = ("docker/", "helm/", "tasks/")
"""Folders from which more than the images is read."""


SHORT = 8
"""Digits of a commit in an image's tag."""


@dataclass(frozen=True)
class Checkout:
    """What is checked out.

    Attributes:
        commit: the full commit SHA of HEAD.
        dirty: eight hex digits of a hash of the uncommitted changes, or None when clean.
        unseen: paths of changes that `git status` does not show, relative to the suite's folder.
        variant: eight hex digits of the image settings that are not the project's own, or empty.
    """

    commit: str
    dirty: str | None
    unseen: tuple[str, ...] = ()
    variant: str = ""

    @property
    def short(self) -> str:
        """The first eight digits of the commit: GitLab's CI_COMMIT_SHORT_SHA."""
        return self.commit[:SHORT]

    @property
    def tag(self) -> str:
        """The image tag of the checkout; a dirty tree has its own, and so have other settings."""
        dirty = f"-dirty-{self.dirty}" if self.dirty else ""
        return f"{self.short}{dirty}{f'-with-{self.variant}' if self.variant else ''}"


class Git:
    """Asks git about one checkout.

    Args:
        runner: runs git.
        root: a directory of the checkout.
        environ: the CI job's variables are read from it.
        named: returns the repository's address from the settings, or an empty string.
    """

    def __init__(
        self,
        runner: Runner,
        root: Path,
        environ: Mapping[str, str] | None = None,
        *,
        named: Callable[[], str] = str,
    ) -> None:
        self._runner = runner
        self._root = root
        self._environ = os.environ if environ is None else environ
        self._named = named

    def _git(self, *args: str) -> str:
        return self._run(*args).stdout.rstrip("\n")

    def _asked(self, *args: str) -> str:
        """Return what git prints; errors as for ``require_repository`` where that is why it fails.

        A check before each question would cost as much as the question.
        """
        try:
            return self._git(*args)
        except CommandError:
            self.require_repository()
            raise

    def _ask(self, where: Path, *args: str, stdin: str = "", check: bool = True) -> str:
        return self._run(*args, where=where, stdin=stdin, check=check).stdout

    def _run(
        self, *args: str, where: Path | None = None, stdin: str = "", check: bool = True
    ) -> Completed:
        # No prompt may block a CI job, no optional lock may disturb an editor's git, and objects
        # must not be replaced (git-replace(1)).
        env = {
            **{"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        return self._runner.ask(
            ["git", *args],
            stdin=stdin,
            env=env,
            cwd=where or self._root,
            deadline=60,
            # Branches and files may have names that are not UTF-8; none may look like another.
            undecodable="surrogateescape",
            check=check,
        )

    def branch(self) -> str:
        """Return the branch of the CI job, or else the one that is checked out.

        Raises:
            InputError: a detached HEAD outside CI, or no git repository.
        """
        for variable in ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"):
            if self._environ.get(variable):
                return self._environ[variable]
        head = self._pointed_to("HEAD", _BRANCHES)
        if head is None:
            self.require_repository()
            raise InputError(
                "HEAD is detached: no branch is checked out",
                hint="check a branch out, or name one with --branch",
            )
        return head

    def commit(self) -> str:
        """Return the full SHA of the commit that is checked out.

        Raises:
            InputError: no git repository, or no commit yet.
        """
        try:
            return self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except CommandError as error:
            self.require_repository()
            raise InputError(
                "there is no commit yet", hint="commit something first: images are tagged by commit"
            ) from error

    def recent(self, most: int) -> list[str]:
        """Return the tags of the newest commits that are checked out, the newest first."""
        listed = self._git("log", f"--max-count={most}", "--format=%H")
        return [Checkout(commit, dirty=None).tag for commit in listed.split()]

    def checkout(self, built: BuildInputs, *, complete: bool = False) -> Checkout:
        """Return the commit that is checked out, and whether the tree is dirty.

        The tree is dirty if a committed file has changed, if a file that images are built from
        differs from the commit's, or if there is a new file where the suite reads. A new file that
        nothing reads, such as the log of a build, changes nothing.

        Args:
            built: what images are built from.
            complete: refuse a checkout that lacks a file which images are built from.

        Raises:
            InputError: no git repository, no commit yet, or a file that no image can hold; or
                something is missing, and the hint is the command that fetches it.
        """
        questions: tuple[Callable[[], str], ...] = (
            self.commit,
            partial(self._git, "rev-parse", "--show-prefix"),
            partial(self._git, "status", *_STATUS),
        )
        commit, prefix, listed = map_parallel(lambda ask: ask(), questions)
        said = filter(None, listed.split("\0"))
        status = [entry for entry in said if _counts(entry, prefix, built)]
        found = Comparison(self._ask, self._root, built, _below(prefix, status))
        if complete:
            found.require_complete()
        unseen = found.differences()
        dirty = self._fingerprint(status, unseen) if status or unseen else None
        return Checkout(commit, dirty, tuple(unseen))

    def differing(self, files: BuildInputs) -> list[str]:
        """Return the paths among some files that are not as HEAD has them, missing ones included.

        Raises:
            InputError: no git repository.
        """
        self.require_repository()
        compared = Comparison(self._ask, self._root, files, ())
        return sorted({*compared.differences(), *compared.missing()})

    def require_checked_out(self, *folders: str) -> None:
        """Check that a sparse checkout leaves nothing out; deleted files are not looked for.

        Args:
            folders: folders of the checkout, relative to it.

        Raises:
            InputError: a file is not checked out; the hint is the command that fetches it.
        """
        # Where there is no repository, nothing can be left out.
        listed = self._run("ls-files", "-t", "-z", "--", *folders, check=False).stdout
        for entry in listed.split("\0"):
            tag, _, path = entry.partition(" ")
            if tag == "S" and not os.path.lexists(self._root / path):
                raise not_checked_out(path)

    def files(self, *folders: str) -> list[str]:
        """Return the files and links in folders that git has or would take, of submodules too.

        What git ignores is left out; a file that was deleted may be among them.

        Args:
            folders: folders of the checkout, relative to it; each must exist.
        """
        own = ("--cached", "--others", "--exclude-standard")
        listed = self._run("ls-files", "-z", *own, "--", *folders).stdout if folders else ""
        found = []
        for name in filter(None, listed.split("\0")):
            path = self._root / name
            if path.is_dir() and not path.is_symlink():  # a repository of its own
                inner = Git(self._runner, path, self._environ).files(".")
                found += [os.path.join(name, each) for each in inner]  # noqa: PTH118
            else:
                found.append(name)
        return found

    def files_at(self, commit: str, *folders: str) -> list[str]:
        """Return the files and links in folders that a commit has; none if it is not here.

        Args:
            commit: its full hash.
            folders: folders of the checkout, relative to it.
        """
        if not (commit and folders):
            return []
        argv = ("ls-tree", "-r", "-z", "--name-only", commit, "--", *folders)
        return [name for name in self._run(*argv, check=False).stdout.split("\0") if name]

    def with_other_line_ends(self, *folders: str) -> list[str]:
        """Return the files that are committed with LF and checked out with CRLF.

        Git may call them unchanged, although the images would differ.

        Args:
            folders: folders of the checkout, relative to it.

        Raises:
            InputError: no git repository.
        """
        entries = self._asked("ls-files", "--eol", "-z", "--", *folders).split("\0")
        return [
            entry.partition("\t")[2]
            for entry in entries
            if _CONVERTED.match(entry.partition("\t")[0])
        ]

    def committed(self, commit: str) -> int:
        """Return when a commit was made, in seconds since 1970.

        Raises:
            CommandError: there is no such commit.
        """
        return int(self._git("rev-list", "--timestamp", "--max-count=1", commit, "--").split()[0])

    def has_remote(self) -> bool:
        """Return whether this clone has a remote; InputError if it is unclear which of several."""
        return self._remote() is not None

    def remote_branches(self) -> frozenset[str]:
        """Return the branches of the remote repository; errors as for ``remote_heads``."""
        return frozenset(self.remote_heads())

    def remote_heads(self) -> dict[str, str]:
        """Return the newest commit of every branch of the remote repository.

        Raises:
            InputError: there are several remotes, and nothing says which one.
            CommandError: the remote cannot be read.
            SuiteError: it shows no branch at all. An empty remote, or one that this user may not
                read, must not be mistaken for one whose branches were all deleted.
        """
        remote = self._remote() or _ORIGIN
        try:
            listed = self._git("ls-remote", "--heads", remote)
        except CommandError as error:
            error.message = f"the branches of {remote} cannot be read"
            error.hint = "check `git remote -v`, the network and your access, then run it again"
            raise
        lines = (line.partition(f"\t{_BRANCHES}") for line in listed.split("\n"))
        found = {name: commit for commit, _, name in lines if name}
        if not found:
            raise SuiteError(
                f"{remote} has no branches", hint=f"check `git ls-remote --heads {remote}`"
            )
        return found

    def branches(self) -> frozenset[str]:
        """Return the local branches."""
        return frozenset(self.heads())

    def heads(self) -> dict[str, str]:
        """Return the newest commit of every local branch."""
        listed = self._git("for-each-ref", "--format=%(objectname) %(refname)", _BRANCHES)
        lines = (line.partition(" ") for line in listed.split("\n"))
        return {name.removeprefix(_BRANCHES): commit for commit, _, name in lines if name}

    def place_of(self, branch: str) -> str:
        """Return where a branch is checked out, of all worktrees; empty if nowhere."""
        own = f"{_BRANCHES}{branch}"
        listed = self._git("for-each-ref", "--format=%(refname) %(worktreepath)", own)
        lines = (line.partition(" ") for line in listed.split("\n"))
        return next((place for name, _, place in lines if name == own), "")

    def tracked(self) -> dict[str, str]:
        """Return the newest commit of every branch of the remote that this clone knows of."""
        below = f"{_REMOTES}{self._remote() or _ORIGIN}/"
        listed = self._git("for-each-ref", "--format=%(objectname) %(refname)", below)
        lines = (line.partition(" ") for line in listed.split("\n"))
        found = {name.removeprefix(below): commit for commit, _, name in lines if name}
        return {name: commit for name, commit in found.items() if name != "HEAD"}

    def was_pushed(self, branch: str) -> bool:
        """Return whether a branch was ever seen on the remote, as far as this clone knows."""
        if self._environ.get("CI_JOB_ID"):  # a pipeline only knows branches of the remote
            return True
        tracking = f"{_REMOTES}{self._remote() or _ORIGIN}/{branch}"
        return self._run("show-ref", "--verify", "--quiet", tracking, check=False).returncode == 0

    def default_branch(self) -> str:
        """Return the project's default branch: of CI, else of the remote, else `main`."""
        named = self._environ.get("CI_DEFAULT_BRANCH")
        if named:
            return named
        below = f"{_REMOTES}{self._remote() or _ORIGIN}/"
        return self._pointed_to(f"{below}HEAD", below) or "main"

    def repository(self) -> str:
        """Return the repository's address: from the settings, CI or the remote; else its path.

        It is the same for every protocol, host name and SSH alias that people clone by, and in all
        worktrees of a clone. A stop job has no checkout, so GitLab's variable is used there.

        Raises:
            InputError: no git repository; or several remotes, and nothing says which one.
        """
        if setting := self._named():
            return canonical(setting)
        named = self._environ.get("CI_PROJECT_URL")
        if named and self._environ.get("CI_JOB_ID"):
            return canonical(self._without_relative_url(named))
        questions: tuple[Callable[[], str], ...] = (
            partial(self._asked, "rev-parse", "--path-format=absolute", "--git-common-dir"),
            lambda: self._told_of_remotes,
        )
        folder, _ = map_parallel(lambda ask: ask(), questions)
        common = Path(folder)
        clone = common.parent if common.name == ".git" else common
        remote = self._remote()
        if remote is None:
            return str(clone)
        address = canonical(self._remotes[remote], self._ssh_host)
        return address if "://" in address else canonical(os.path.normpath(clone / address))

    def _without_relative_url(self, url: str) -> str:
        """Return a project's URL without GitLab's relative URL root, which SSH addresses lack."""
        server = self._environ.get("CI_SERVER_URL", "")
        below = urlsplit(server).path.rstrip("/")
        if not below or not url.startswith(f"{server.rstrip('/')}/"):
            return url
        return server.rstrip("/").removesuffix(below) + url.removeprefix(server.rstrip("/"))

    @cached_property
    def _told_of_remotes(self) -> str:
        # Not `git remote`, which also names what has settings but no address.
        return self._asked("remote", "-v")

    @property
    def _remotes(self) -> Mapping[str, str]:
        """The addresses of this clone's remotes, by name."""
        return dict(_FETCHED.findall(self._told_of_remotes))

    def _remote(self) -> str | None:
        """Return the remote that this clone belongs to, or None without remotes.

        Raises:
            InputError: there are several, and nothing says which one.
        """
        names = [*self._remotes]
        if _ORIGIN in names:
            return _ORIGIN
        if not names[1:]:
            return names[0] if names else None
        branch = self._pointed_to("HEAD", _BRANCHES)
        for key in ("checkout.defaultRemote", f"branch.{branch}.remote"):
            named = self._run("config", "--get", key, check=False).stdout.strip()
            if named in names:
                return named
        raise InputError(
            f"this clone has several remotes ({', '.join(names)}), and none is called origin",
            hint=f"git config checkout.defaultRemote {names[0]}",
        )

    def _ssh_host(self, alias: str) -> str:
        """Return the host name that SSH resolves an alias to, with git's SSH command."""
        command = (
            self._environ.get("GIT_SSH_COMMAND")
            or self._run("config", "--get", "core.sshCommand", check=False).stdout.strip()
        )
        try:
            words = shlex.split(command or "ssh")
            words = [str(Path(word).expanduser()) if word[:1] == "~" else word for word in words]
            done = self._runner.run([*words, "-G", alias], deadline=10, check=False)
        except (SuiteError, ValueError):
            # Not OpenSSH, or none at all: then there are no aliases either.
            return alias
        found = re.search(r"^hostname (\S+)$", done.stdout, re.MULTILINE)
        return found[1] if found and done.returncode == 0 else alias

    def is_on(self, commit: str, branch: str) -> bool:
        """Return True if a commit is on a branch, as far as this clone knows.

        Raises:
            InputError: a shallow clone whose history does not reach far enough to tell.
        """
        remote = self._remote() or _ORIGIN
        for reference in (f"{_BRANCHES}{branch}", f"{_REMOTES}{remote}/{branch}"):
            done = self._run("merge-base", "--is-ancestor", commit, reference, check=False)
            if done.returncode == 0:
                return True
        if self._git("rev-parse", "--is-shallow-repository") == "true":
            raise InputError(
                f"this shallow clone cannot tell whether {commit[:8]} is on {branch}",
                hint="fetch the history: git fetch --unshallow (in GitLab CI: GIT_DEPTH: 0)",
            )
        return False

    def _pointed_to(self, reference: str, below: str) -> str | None:
        """Return the target of a symbolic reference, relative to a prefix, or None.

        Git's short names cannot be used: that of a branch depends on the tags that exist.
        """
        pointed = self._run("symbolic-ref", "--quiet", reference, check=False).stdout.rstrip("\n")
        return pointed.removeprefix(below) if pointed.startswith(below) else None

    def require_repository(self, hint: str = "run inv inside your checkout") -> None:
        """Check that the checkout is one.

        Args:
            hint: what to do where there is none.

        Raises:
            InputError: it is in no repository, or git does not trust it.
        """
        done = self._run("rev-parse", "--git-dir", check=False)
        if "dubious ownership" in done.stderr:
            raise InputError(
                f"git does not trust {self._root}: it belongs to another user",
                hint=f"git config --global --add safe.directory {self._root}",
            )
        if done.returncode != 0:
            raise InputError(f"{self._root} is not a git repository", hint=hint)

    def _fingerprint(self, status: Iterable[str], unseen: Iterable[str]) -> str:
        """Return eight hex digits over the uncommitted changes, new files included.

        Args:
            status: entries of `git status`.
            unseen: the paths of changes that it does not show.
        """
        digest = hashlib.sha256("\0".join(status).encode(errors="surrogateescape"))
        top = Path(self._git("rev-parse", "--show-toplevel"))
        for entry in status:
            # Read here, because the output of git diff depends on the user's settings.
            digest.update(_content(top / _name(entry)))
        for path in unseen:
            digest.update(os.fsencode(f"{path}\0") + _content(self._root / path))
        return digest.hexdigest()[:8]


def _name(entry: str) -> str:
    """Return the path of an entry of `git status`, relative to the work tree's top."""
    return entry[3:]  # two letters and a space stand before it


def _below(prefix: str, status: Iterable[str]) -> list[str]:
    """Return the paths of those entries of `git status` that lie below a folder, relative to it."""
    names = map(_name, status)
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


def _counts(entry: str, prefix: str, built: BuildInputs) -> bool:
    """Return True if an entry of `git status` is a change of what the suite reads."""
    if not entry.startswith(_NEW):
        return True
    return any(path.startswith(_READ) or built.holds(path) for path in _below(prefix, [entry]))


def _content(path: Path) -> bytes:
    """Return a digest of a file's content and mode, or of a link's target."""
    if path.is_symlink():
        return b"link " + hashlib.sha256(os.fsencode(path.readlink())).digest()
    if path.is_file():
        mode = b"x" if path.stat().st_mode & 0o100 else b"-"
        return b"file " + mode + hashlib.sha256(path.read_bytes()).digest()
    return b"none"
