"""The lock, with real processes: what a kernel guarantees cannot be played."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from tasks.adapters.files.lock import FileLock, lock_folder
from tasks.core.environment import Holder
from tasks.core.errors import HeldError, SuiteError

SPAWN = multiprocessing.get_context("spawn")


def _holder(
    commit: str = "", *, committed: int = 0, pid: int = 0, since: str = "2026-01-01"
) -> Holder:
    return Holder("ada@host", pid or os.getpid(), since, "deploy", commit, committed)


def _hold(folder: str, held: Event, enough: Event) -> None:
    with FileLock("env", Path(folder)).held(_holder("first"), lambda _: None):
        held.set()
        enough.wait(60)


class Other:
    """Another process that holds the lock until it is told, or killed."""

    def __init__(self, folder: Path) -> None:
        held, self.enough = SPAWN.Event(), SPAWN.Event()
        self.process = SPAWN.Process(target=_hold, args=(str(folder), held, self.enough))
        self.process.start()
        assert held.wait(60)

    def end(self) -> None:
        self.enough.set()
        self.process.join(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def test_one_waits_for_the_other_and_is_told_who_it_is(folder: Path) -> None:
    other = Other(folder)
    told: list[str] = []

    def waiting(text: str) -> None:
        told.append(text)
        other.enough.set()

    with FileLock("env", folder).held(_holder("second"), waiting):
        assert FileLock("env", folder).holder() == _holder("second")
    other.end()
    assert len(told) == 1
    assert f"ada@host (pid {other.process.pid}, deploy first)" in told[0]
    assert FileLock("env", folder).holder() is None


def test_a_killed_holder_leaves_nothing_that_holds(folder: Path) -> None:
    other = Other(folder)
    assert other.process.pid
    os.kill(other.process.pid, signal.SIGKILL)
    other.process.join(60)
    assert FileLock("env", folder).holder() is None
    with FileLock("env", folder).held(_holder(), pytest.fail):
        pass


def test_waiting_ends_at_its_deadline_and_names_the_holder(folder: Path) -> None:
    other = Other(folder)
    with (
        pytest.raises(HeldError, match=r"still held by ada@host \(pid \d+, deploy first\)"),
        FileLock("env", folder).held(_holder("second"), lambda _: None, wait_seconds=0),
    ):
        pass
    other.end()


def test_a_newer_commit_that_waits_takes_the_place_of_an_older_one(folder: Path) -> None:
    other = Other(folder)
    older_waits, outcome = threading.Event(), []

    def older() -> None:
        me = _holder("older", committed=1)
        try:
            with FileLock("env", folder).held(me, lambda _: older_waits.set()):
                outcome.append("ran")
        except HeldError as error:
            outcome.append(error.message)

    thread = threading.Thread(target=older)
    thread.start()
    assert older_waits.wait(60)

    def newer_waits(_: str) -> None:
        thread.join(60)
        other.enough.set()

    with FileLock("env", folder).held(_holder("newer", committed=2), newer_waits):
        pass
    other.end()
    assert len(outcome) == 1
    assert "deploy newer" in outcome[0]


def test_a_newer_commit_that_died_while_it_waited_takes_nobodys_place(folder: Path) -> None:
    other = Other(folder)
    dead = _holder("newer", committed=2, pid=2**22 + 1)
    (folder / "env.next").write_text(json.dumps(asdict(dead)))
    with FileLock("env", folder).held(_holder("older", committed=1), lambda _: other.enough.set()):
        pass
    other.end()


@contextlib.contextmanager
def _closed(folder: Path) -> Iterator[None]:
    """Let nobody look into a folder, and this process have no right to look all the same."""
    mine = os.geteuid()
    folder.chmod(0)
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)
        folder.chmod(0o700)


@pytest.mark.parametrize(
    "look",
    [FileLock.holder, FileLock.used_at, FileLock.wake, FileLock.note_use, lambda lock: lock.folder],
    ids=["holder", "used", "wake", "note", "folder"],
)
def test_a_folder_that_cannot_be_looked_into_is_one_error(
    look: Callable[[FileLock], object], folder: Path
) -> None:
    lock = FileLock("env", folder)
    lock.note_use()
    with _closed(folder), pytest.raises(SuiteError, match=f"{folder}/env.* Permission denied"):
        look(lock)


def test_a_shared_folder_that_cannot_be_seen_is_one_error(folder: Path) -> None:
    folder.mkdir()
    with _closed(folder), pytest.raises(SuiteError, match=f"{folder}/shared .* Permission denied"):
        lock_folder({}, folder / "shared")
