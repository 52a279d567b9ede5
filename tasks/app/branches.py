"""Looks whether the branch of a command line is one.

Not in a CI job: the pipeline says which branch it is for, and its clone may know no other.
"""

from __future__ import annotations

import os
from contextlib import suppress

from tasks.adapters.gitlab import is_job
from tasks.app.session import Session
from tasks.core.errors import InputError
from tasks.core.rehearsal import check_no_rehearsal
from tasks.flows.branches import look_for


def check_given(session: Session, branch: str | None, *, new: bool) -> None:
    """Refuse a branch that is nowhere, and warn if other code goes out under its name.

    Args:
        session: the run.
        branch: what ``--branch`` said, or None when it was not given.
        new: a name that no branch has will do.

    Raises:
        InputError: there is no such branch.
    """
    if branch is None or new or is_job(os.environ):
        return
    check_no_rehearsal(branch)
    branch = session.branch(branch)
    found = look_for(session.git, branch)
    if not found.commits:
        hint = f"{found.question}--new makes an environment for a name that no branch has"
        raise InputError(found.absence, hint=hint)
    changed = _is_another_changed(session, branch)
    if told := found.other_code(session.git.commit(), changed=changed):
        session.console.warn(told)


def _is_another_changed(session: Session, branch: str) -> bool:
    """Return True if files are not as committed, and the branch is not what is checked out."""
    from tasks.app.images import inputs

    with suppress(InputError):  # a detached HEAD
        if session.git.branch() == branch:
            return False
    return session.git.checkout(inputs(session)).dirty is not None


def is_known(session: Session, branch: str) -> bool:
    """Return whether this clone knows a branch; of a CI job's, which may know no other, True."""
    return is_job(os.environ) or branch in {*session.git.heads(), *session.git.tracked()}


def absence(session: Session, branch: str) -> str:
    """Return that a branch is nowhere, and which one was probably meant; empty if it is one."""
    if is_job(os.environ):
        return ""
    found = look_for(session.git, branch)
    return "" if found.commits else f"{found.absence}; {found.question}".strip("; ")
