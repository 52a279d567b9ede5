"""Identifies this run to others: user, host, process."""

from __future__ import annotations

import getpass
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from tasks.core.environment import PIPELINE, Holder


def user_at_host() -> str:
    """Return the user as user@host; in a GitLab job the user who started it."""
    try:
        user = os.environ.get("GITLAB_USER_LOGIN") or getpass.getuser()
    except (OSError, KeyError):  # a uid without a name, as in some CI images
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def this_run(action: str, commit: str = "", committed: int = 0) -> Holder:
    """Return this run as the holder of an environment's lock.

    Args:
        action: what it does, e.g. ``deploy``.
        commit: what it deploys, or an empty string.
        committed: that commit's time in seconds since 1970, or 0.
    """
    return Holder(
        owner=user_at_host(),
        pid=os.getpid(),
        since=datetime.now(UTC).isoformat(),
        action=action,
        commit=commit,
        committed=committed,
        job=os.environ.get("CI_JOB_URL", ""),
    )


def this_checkout(root: Path) -> str:
    """Return which checkout this is, as user@host:folder; of all GitLab jobs the same."""
    return PIPELINE if os.environ.get("CI_JOB_ID") else f"{user_at_host()}:{root}"


def this_builder() -> str:
    """Return who builds, as a URI: the runner of a GitLab job as GitLab names it, else the user."""
    project, runner = os.environ.get("CI_PROJECT_URL"), os.environ.get("CI_RUNNER_ID")
    if project and runner:
        return f"{project}/-/runners/{runner}"
    return f"urn:mautic-multidev:user:{user_at_host()}"


def is_alive(pid: int) -> bool:
    """Return True if a process of any user exists on this host."""
    if pid <= 0:  # kill(2) takes these for groups of processes
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the latter for a number that no pid can have
        return False
    except PermissionError:
        return True
    return True
