"""Who a run says it is."""

from __future__ import annotations

import os
import socket

import pytest

from tasks.adapters.identity import is_alive, this_run, user_at_host


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what names the user but the user's id."""
    for name in ("GITLAB_USER_LOGIN", "CI_JOB_URL", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)


def test_a_uid_without_a_name_has_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert user_at_host() == f"54321@{socket.gethostname()}"
    assert this_run("deploy").identity == f"{user_at_host()} (process {os.getpid()})"


def test_a_job_is_named_by_its_user_and_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_USER_LOGIN", "ada")
    monkeypatch.setenv("CI_JOB_URL", "https://gitlab/1")
    me = this_run("deploy", "1a2b", 5)
    assert me.owner == f"ada@{socket.gethostname()}"
    assert me.identity == "https://gitlab/1"
    assert (me.commit, me.committed, me.pid) == ("1a2b", 5, os.getpid())


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, signum: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", kill)
    assert is_alive(os.getpid())


@pytest.mark.parametrize("pid", [0, -1, 10**30])
def test_what_can_be_no_process_is_not_alive(pid: int) -> None:
    assert not is_alive(pid)
