"""The checkout: which branch, which commit, whether it is dirty. Reads only."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.committed import Built, differing, require_whole
from tasks.adapters.process import Completed, Runner
from tasks.core.errors import CommandError, InputError, SuiteError

_ADDRESS = re.compile(
    r"(?:https?|ssh|git)://(?:[^/@]*@)?(?P<host>[^/:]+)(?::\d+)?/(?P<path>.+)"
    r"|(?:[^/:@]+@)?(?P<scp_host>[^/:@]+):(?P<scp_path>(?!//).+)"
)
"""A repository elsewhere, as a URL or the short form of scp; see git-clone(1), "GIT URLS"."""

_CONVERTED = re.compile(r"i/lf\s+w/(?:crlf|mixed)\s")
"""Line ends in the index and in the work tree; see git-ls-files(1), "--eol"."""

_BRANCHES = "refs/heads/"
_ORIGIN = "refs/remotes/origin/"

_STATUS = (
    *("--porcelain=v1", "-z", "--no-renames"),
    *("--untracked-files=all", "--ignore-submodules=none"),
)
"""Every path that differs from HEAD, by itself, whatever a person has set; see git-status(1)."""


@dataclass(frozen=True)
class Checkout:
    """What is checked out.

    Attributes:
        commit: the full commit SHA of HEAD.
        dirty: eight hex digits that stand for the uncommitted changes, or None when clean.
        unseen: what of them `git status` does not show: paths, relative to the suite's folder.
    """

    commit: str
    dirty: str | None
    unseen: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The first eight digits of the commit: GitLab's CI_COMMIT_SHORT_SHA."""
        return self.commit[:8]

    @property
    def tag(self) -> str:
        """The image tag of what is checked out; a dirty tree has one of its own."""
        return f"{self.short}-dirty-{self.dirty}" if self.dirty else self.short


def canonical(url: str) -> str:
    """Return a repository's address in one form: ``https://host/path``, without user and port.

    Args:
        url: as `git remote get-url` shows it; a path on this machine stays what it is.
    """
    match = _ADDRESS.fullmatch(url)
    if not match:
        return url
    host, path = match["host"] or match["scp_host"], match["path"] or match["scp_path"]
    return f"https://{host}/{path.strip('/').removesuffix('.git')}"


class Git:
    """Asks git about one checkout.

    Args:
        runner: runs git.
        root: a directory of the checkout.
        environ: where CI says which branch it is about.
    """

    def __init__(
        self, runner: Runner, root: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self._runner = runner
        self._root = root
        self._environ = os.environ if environ is None else environ

    def _git(self, *args: str) -> str:
        return self._run(*args).stdout.rstrip("\n")

    def _ask(self, where: Path, *args: str, stdin: str = "", check: bool = True) -> str:
        return self._run(*args, where=where, stdin=stdin, check=check).stdout

    def _run(
        self, *args: str, where: Path | None = None, stdin: str = "", check: bool = True
    ) -> Completed:
        # No prompt may hang a CI job, and no optional lock may disturb an editor's git.
        # An object is what its name says, whatever a person has put in its place.
        env = {
            **{"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            "GIT_NO_REPLACE_OBJECTS": "1",
        }
        return self._runner.run(
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
        """Return the branch that is checked out, or that CI says the job is about.

        Raises:
            InputError: a detached HEAD outside CI, or no git repository.
        """
        for variable in ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH"):
            if self._environ.get(variable):
                return self._environ[variable]
        self._require_repository()
        head = self._pointed_to("HEAD", _BRANCHES)
        if head is None:
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
        self._require_repository()
        try:
            return self._git("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except CommandError as error:
            raise InputError(
                "there is no commit yet", hint="commit something first: images are tagged by commit"
            ) from error

    def checkout(self, built: Built) -> Checkout:
        """Return the commit that is checked out, and whether the tree is dirty.

        It is dirty where git finds it so, and where one of the files that images are built from is
        not, to the byte, that of the commit.

        Args:
            built: those files.

        Raises:
            InputError: no git repository, no commit yet, or a file that no image can hold.
        """
        commit = self.commit()
        status = self._git("status", *_STATUS)
        unseen = differing(self._ask, self._root, built, self._changed(status))
        dirty = self._fingerprint(status, unseen) if status or unseen else None
        return Checkout(commit, dirty, tuple(unseen))

    def require_whole(self, built: Built) -> None:
        """Make sure that everything is here that HEAD says images are built from.

        Args:
            built: the files that they are built from.

        Raises:
            InputError: naming what is missing, and the command that brings it.
        """
        self._require_repository()
        status = self._git("status", *_STATUS)
        require_whole(self._ask, self._root, built, self._changed(status))

    def with_other_line_ends(self, folder: str) -> list[str]:
        """Return the files that are committed with line feeds alone and lie here with CRLF.

        To git they may be unchanged: a clean tree would give other images.

        Args:
            folder: a folder of the checkout, relative to it.

        Raises:
            InputError: no git repository.
        """
        self._require_repository()
        entries = self._git("ls-files", "--eol", "-z", "--", folder).split("\0")
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

    def remote_branches(self) -> frozenset[str]:
        """Return the branches that `origin` has.

        Raises:
            CommandError: the remote cannot be read.
            SuiteError: it has no branch at all: a remote that nobody has pushed to yet, or one that
                shows this user nothing, must not pass for one where every branch was deleted.
        """
        try:
            listed = self._git("ls-remote", "--heads", "origin")
        except CommandError as error:
            error.message = "the branches of origin cannot be read"
            error.hint = "check `git remote -v`, the network and your access, then run it again"
            raise
        names = (line.partition(f"\t{_BRANCHES}")[2] for line in listed.split("\n"))
        found = frozenset(filter(None, names))
        if not found:
            raise SuiteError("origin has no branches", hint="check `git ls-remote --heads origin`")
        return found

    def branches(self) -> frozenset[str]:
        """Return the branches of this clone itself."""
        listed = self._git("for-each-ref", "--format=%(refname)", _BRANCHES).split("\n")
        return frozenset(name.removeprefix(_BRANCHES) for name in listed if name)

    def default_branch(self) -> str:
        """Return the project's default branch: CI's, origin's, or `main` where neither says."""
        named = self._environ.get("CI_DEFAULT_BRANCH")
        if named:
            return named
        return self._pointed_to(f"{_ORIGIN}HEAD", _ORIGIN) or "main"

    def repository(self) -> str:
        """Return where the repository lives: origin's address, or the checkout's path.

        The same for everybody, by whichever protocol each has cloned it: a person by SSH and a CI
        job by HTTPS own the same environments. A stop job has no checkout; GitLab tells it.
        """
        named = self._environ.get("CI_PROJECT_URL")
        if named and self._environ.get("CI_JOB_ID"):
            return canonical(named)
        self._require_repository()
        try:
            url = self._git("remote", "get-url", "origin")
        except CommandError:
            return str(Path(self._git("rev-parse", "--show-toplevel")))
        return canonical(url)

    def is_on(self, commit: str, branch: str) -> bool:
        """Return True if a commit is on a branch, as far as this clone knows.

        Raises:
            InputError: a shallow clone whose history does not reach far enough to tell.
        """
        for reference in (f"{_BRANCHES}{branch}", f"{_ORIGIN}{branch}"):
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
        """Return which reference below a folder another one points to, or None.

        Not by git's own short names: that of a branch depends on the tags there are.
        """
        pointed = self._run("symbolic-ref", "--quiet", reference, check=False).stdout.rstrip("\n")
        return pointed.removeprefix(below) if pointed.startswith(below) else None

    def _require_repository(self) -> None:
        done = self._run("rev-parse", "--git-dir", check=False)
        if "dubious ownership" in done.stderr:
            raise InputError(
                f"git does not trust {self._root}: it belongs to another user",
                hint=f"git config --global --add safe.directory {self._root}",
            )
        if done.returncode != 0:
            raise InputError(
                f"{self._root} is not a git repository", hint="run inv inside your checkout"
            )

    def _changed(self, status: str) -> list[str]:
        """Return the paths of the uncommitted changes, relative to the suite's folder.

        Args:
            status: what `git status` says with the options of ``_STATUS``.
        """
        prefix = self._git("rev-parse", "--show-prefix")
        names = (entry[3:] for entry in filter(None, status.split("\0")))
        return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]

    def _fingerprint(self, status: str, unseen: Iterable[str]) -> str:
        """Return eight hex digits over the uncommitted changes, untracked files included.

        Args:
            status: what `git status` says with the options of ``_STATUS``.
            unseen: the paths of those that it does not show.
        """
        digest = hashlib.sha256(status.encode(errors="surrogateescape"))
        top = Path(self._git("rev-parse", "--show-toplevel"))
        for entry in filter(None, status.split("\0")):
            name = entry[3:]  # two letters and a space stand before it
            # Read here, not shown by git: differences look as a person's settings have them.
            digest.update(_content(top / name))
        for path in unseen:
            digest.update(os.fsencode(f"{path}\0") + _content(self._root / path))
        return digest.hexdigest()[:8]


def _content(path: Path) -> bytes:
    """Return what stands for a file's content and mode, or for what a link leads to."""
    if path.is_symlink():
        return b"link " + hashlib.sha256(os.fsencode(path.readlink())).digest()
    if path.is_file():
        mode = b"x" if path.stat().st_mode & 0o100 else b"-"
        return b"file " + mode + hashlib.sha256(path.read_bytes()).digest()
    return b"none"
