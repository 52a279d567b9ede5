"""Whether the branch that a command line names is one, and whether it is what is checked out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from tasks.core.errors import SuiteError


class KnownBranches(Protocol):
    """The part of git that knows branches."""

    def heads(self) -> Mapping[str, str]:
        """Return the newest commit of every local branch."""

    def tracked(self) -> Mapping[str, str]:
        """Return the newest known commit of every branch of the remote, without asking it."""

    def has_remote(self) -> bool:
        """Return whether there is a remote; SuiteError if it is unclear which of several."""

    def remote_heads(self) -> Mapping[str, str]:
        """Return the newest commit of every branch of the remote; SuiteError if it cannot say."""


@dataclass(frozen=True)
class Whereabouts:
    """Where a branch is.

    Attributes:
        commits: what it is at, here and on the remote; empty if it is nowhere.
        nearest: of one that is nowhere, the branch that was probably meant, or an empty string.
        doubt: why the remote could not be asked, or an empty string.
        has_remote: whether there is one.
    """

    branch: str
    commits: frozenset[str]
    nearest: str = ""
    doubt: str = ""
    has_remote: bool = True

    @property
    def absence(self) -> str:
        """That it is nowhere, in one sentence."""
        if not self.has_remote:
            return f"there is no branch {self.branch} in this repository, which has no remote"
        doubt = f" ({self.doubt})" if self.doubt else ""
        return f"there is no branch {self.branch}, neither here nor on the remote{doubt}"

    @property
    def question(self) -> str:
        """Which one was probably meant, as a question with a space behind it, or nothing."""
        return f"did you mean {self.nearest}? " if self.nearest else ""

    def other_code(self, commit: str, *, changed: bool = False) -> str:
        """Return a sentence if other code than the branch's newest goes out, or an empty string.

        Args:
            commit: the one that is checked out.
            changed: whether files are not as committed, and the branch is not checked out.
        """
        out = f"out under the name of {self.branch}"
        if commit not in self.commits:
            places = " and ".join(sorted(each[:8] for each in self.commits))
            more = " with uncommitted changes" * changed
            is_out = f"{commit[:8]} is checked out{more}: that is what goes {out}"
            return f"{self.branch} is at {places}, and {is_out}"
        return f"uncommitted changes go {out}, which is not checked out" * changed


def look_for(git: KnownBranches, branch: str) -> Whereabouts:
    """Return where a branch is; the remote is asked only where this clone does not know it."""
    here, tracked = git.heads(), git.tracked()
    if found := {known[branch] for known in (here, tracked) if branch in known}:
        return Whereabouts(branch, frozenset(found))
    there: Mapping[str, str] = {}
    doubt = ""
    has_remote = True
    try:
        if has_remote := git.has_remote():
            there = git.remote_heads()
    except SuiteError as error:
        doubt = error.message
    if branch in there:
        return Whereabouts(branch, frozenset({there[branch]}))
    close = difflib.get_close_matches(branch, {*here, *tracked, *there}, n=1)
    return Whereabouts(branch, frozenset(), "".join(close), doubt, has_remote)
