"""The lock, in one process: what it lets in, and what may lie in its place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tasks.adapters.files.lock import FileLock
from tasks.core.environment import Holder
from tasks.core.errors import HeldError, SuiteError


def _holder(
    commit: str = "", *, committed: int = 0, pid: int = 0, since: str = "2026-01-01"
) -> Holder:
    return Holder("ada@host", pid or os.getpid(), since, "deploy", commit, committed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def test_environments_do_not_hold_each_other(folder: Path) -> None:
    with (
        FileLock("one", folder).held(_holder(), pytest.fail),
        FileLock("two", folder).held(_holder(), pytest.fail),
    ):
        pass


def test_every_user_of_the_machine_can_lock(folder: Path) -> None:
    before = os.umask(0o077)
    try:
        with FileLock("env", folder).held(_holder(), pytest.fail):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "env.lock").stat().st_mode) == 0o666


@pytest.mark.parametrize(
    "text",
    [
        '{"owner": 5, "pid": 1, "since": "x", "action": "deploy"}',
        '{"owner": "ada", "pid": "x", "since": "x", "action": []}',
        '{"owner": "ada", "pid": 1, "since": 7, "action": "deploy"}',
        "[]",
        "null",
        "\x00",
    ],
)
def test_what_anybody_wrote_into_a_lock_is_no_holder(folder: Path, text: str) -> None:
    with FileLock("env", folder).held(_holder("older"), pytest.fail):
        (folder / "env.lock").write_text(text)
        (folder / "env.next").write_text(text)
        assert FileLock("env", folder).holder() is None
        told: list[str] = []
        with (
            pytest.raises(HeldError, match="still held by somebody"),
            FileLock("env", folder).held(_holder("newer"), told.append, wait_seconds=0),
        ):
            pass
        assert told == []


def test_a_link_in_the_lock_s_place_is_an_error(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / "env.lock").symlink_to(victim)
    with (
        pytest.raises(SuiteError, match=r"env\.lock cannot be opened"),
        FileLock("env", folder).held(_holder(), pytest.fail),
    ):
        pass
    assert victim.read_text() == "precious"
