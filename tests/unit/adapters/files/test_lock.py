"""The lock, in one process: what it lets in, and what may lie in its place."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.adapters.files.lock import FileLock, lock_folder
from tasks.core.environment import Holder
from tasks.core.errors import HeldError, SuiteError
from tasks.core.sleep import Wake


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


def test_how_far_the_waker_is_stands_beside_the_lock(folder: Path) -> None:
    lock = FileLock("env", folder)
    assert lock.wake() is Wake.NOT
    for wake in (Wake.BEGUN, Wake.DONE, Wake.BEGUN, Wake.NOT):
        lock.note_wake(wake)
        assert (lock.wake(), FileLock("other", folder).wake()) == (wake, Wake.NOT)
    (folder / "env.wake").write_text("half")
    assert lock.wake() is Wake.NOT


def test_the_folder_is_made_before_somebody_else_mounts_it(folder: Path) -> None:
    assert FileLock("platform", folder).folder == folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_nobody_else_can_write_or_replace_a_lock(folder: Path) -> None:
    before = os.umask(0)
    try:
        with FileLock("env", folder).held(_holder(), pytest.fail):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "env.lock").stat().st_mode) == 0o600


def test_users_who_share_an_engine_share_the_locks_of_a_folder_that_is_made_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    folder.chmod(0o2770)
    assert lock_folder({"XDG_STATE_HOME": "/home/ada"}, shared=folder) == folder
    # The folder is the administrator's: to its own user one that a group can write is a fault.
    real = os.fstat

    def of_root(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[stat.ST_UID] = 0
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_root)
    before = os.umask(0o077)
    try:
        with FileLock("env", folder).held(_holder(), pytest.fail):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "env.lock").stat().st_mode) == 0o660


def test_by_itself_a_lock_lies_in_the_user_s_own_state(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    named = lock_folder({"XDG_STATE_HOME": str(tmp_path)}, nothing)
    assert named == tmp_path / "mautic-multidev" / "locks"
    # Not in what a shell and a job of one user may call by different names.
    own = lock_folder({"HOME": "/elsewhere", "XDG_STATE_HOME": "here", "TMPDIR": "/x"}, nothing)
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert own == home / ".local" / "state" / "mautic-multidev" / "locks"


def test_a_user_id_without_a_name_has_a_home_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert lock_folder({"HOME": "/h"}, tmp_path / "x").is_relative_to("/h/.local/state")


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


# -- what strangers plant -------------------------------------------------------------------------


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of this user that no lock may touch."""
    found = tmp_path / "precious" / "env.lock"
    found.parent.mkdir()
    found.write_text("precious")
    yield found
    assert found.read_text() == "precious"
    assert [path.name for path in found.parent.iterdir()] == ["env.lock"]


def refused(folder: Path, why: str = "") -> None:
    """Check that the lock is refused, whether it is wanted or looked at."""
    with (
        pytest.raises(
            SuiteError, match=rf"or folder .*env\.lock cannot be opened: .*{why}"
        ) as told,
        FileLock("env", folder).held(_holder(), pytest.fail),
    ):
        pass
    assert "ls -ld" in str(told.value.hint)
    if (folder / "env.lock").exists():
        with pytest.raises(SuiteError, match=r"env\.lock cannot be opened"):
            FileLock("env", folder).holder()


def test_a_link_in_the_lock_s_place_is_not_followed(folder: Path, victim: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "env.lock").symlink_to(victim)
    refused(folder)


def test_a_second_name_of_a_file_is_no_lock(folder: Path, victim: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "env.lock").hardlink_to(victim)
    refused(folder, "no plain file")


def test_a_link_in_the_folder_s_place_is_not_followed(folder: Path, victim: Path) -> None:
    folder.symlink_to(victim.parent)
    refused(folder)


def test_a_link_to_nowhere_makes_nothing_there(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "env.lock").symlink_to(tmp_path / "made")
    refused(folder)
    assert not (tmp_path / "made").exists()


def test_a_pipe_in_the_lock_s_place_does_not_hang(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / "env.lock")
    refused(folder, "no plain file")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_folder_that_anybody_can_write_holds_no_lock(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    refused(folder, "others can write to its folder")


def test_a_folder_that_somebody_else_made_holds_no_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(folder, 54321, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 54321)
    refused(folder, "its folder belongs to user")


def test_a_lock_that_anybody_can_write_is_none(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "env.lock").touch()
    (folder / "env.lock").chmod(0o666)
    refused(folder, "no plain file")
