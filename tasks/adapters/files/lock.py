"""A lock that lets one run at a time change an environment on this machine.

The kernel releases the lock (flock(2)) when its holder ends, however it ends, so there are no stale
locks. The content of the file only says who holds it.

The files lie in a folder that strangers cannot write to. In /tmp anybody could put a link in their
place, through which this user's files would be truncated, or hold a lock for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tasks.adapters.identity import is_alive
from tasks.adapters.wait import wait_until
from tasks.core.environment import Holder, parse
from tasks.core.errors import HeldError, SuiteError, UnreadableError
from tasks.core.sleep import Wake

SHARED = Path("/var/lib/mautic-multidev/locks")
"""The lock files of all users of this machine, if its administrator has made this folder: for those
who share one Docker Engine."""

POLL_SECONDS = 0.2
WAIT_SECONDS = 1800.0
"""How long a run waits for the lock: longer than any deploy takes."""


def lock_folder(environ: Mapping[str, str], shared: Path = SHARED) -> Path:
    """Return the folder of the lock files: the shared one if there is one, or the user's own.

    The user's own is in their home according to the system, not to HOME: two runs with different
    environments, like a shell's and a job's, must not lock different files.

    Args:
        environ: where XDG_STATE_HOME and, for a user id without a name, HOME are read.
        shared: the folder of all users.

    Raises:
        SuiteError: that there is one cannot be seen.
    """
    with _refusals(shared):
        is_there = shared.is_dir()
    return shared if is_there else state_folder(environ) / "locks"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's own folder for what the suite keeps on this machine.

    Args:
        environ: as for ``lock_folder``.
    """
    named = environ.get("XDG_STATE_HOME", "")
    if named.startswith("/"):  # the specification has relative paths ignored
        return Path(named) / "mautic-multidev"
    try:
        home = pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        home = environ.get("HOME", "/")
    return Path(home) / ".local" / "state" / "mautic-multidev"


class FileLock:
    """The lock of one environment.

    Args:
        name: what is locked, e.g. the Compose project; a plain file name.
        directory: where the lock files live; by default that of ``lock_folder``.
    """

    def __init__(self, name: str, directory: Path | None = None) -> None:
        self._name = name
        self._directory = directory or lock_folder(os.environ)

    @property
    def folder(self) -> Path:
        """The folder of the lock files, which is made if it is missing.

        Raises:
            SuiteError: strangers can write to it.
        """
        with _opened(self._directory, f"{self._name}.lock"):
            return self._directory

    @contextlib.contextmanager
    def held(
        self, me: Holder, waiting: Callable[[str], None], wait_seconds: float = WAIT_SECONDS
    ) -> Iterator[None]:
        """Hold the lock; wait for it while another run holds it.

        A waiting deploy is superseded by one of a newer commit; if their order is unknown, by one
        that began later.

        Args:
            me: this run.
            waiting: called with a message once per holder.
            wait_seconds: how long to wait.

        Raises:
            HeldError: it was not free in time, or a newer deploy has superseded this one.
        """
        with _opened(self._directory, f"{self._name}.lock") as file:
            self._acquire(file, me, waiting, wait_seconds)
            try:
                _write(file, me)
                yield
            finally:
                os.ftruncate(file, 0)

    def holder(self) -> Holder | None:
        """Return who holds the lock now, or None.

        Raises:
            SuiteError: what lies in the lock's place is no lock, or cannot be looked at.
        """
        path = self._directory / f"{self._name}.lock"
        with _refusals(path):
            is_there = path.exists()
        if not is_there:
            return None
        with _opened(self._directory, f"{self._name}.lock") as file:
            # Shared: two runs that only look must not see each other as holders.
            return None if _try_lock(file, fcntl.LOCK_SH) else _read(file)

    def note_use(self) -> None:
        """Store that somebody has used the environment now; this needs no lock.

        Raises:
            SuiteError: what lies in the file's place is none of this user's.
        """
        with _opened(self._directory, f"{self._name}.used") as file:
            os.utime(file)

    def used_at(self) -> str:
        """Return when ``note_use`` was called last, ISO 8601, UTC; empty if it never was.

        Raises:
            SuiteError: the file cannot be looked at.
        """
        path = self._directory / f"{self._name}.used"
        seconds = None
        with _refusals(path), contextlib.suppress(FileNotFoundError):
            seconds = path.stat().st_mtime
        return "" if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat()

    def note_wake(self, wake: Wake) -> None:
        """Store how far the local platform's waker is, while the lock is held.

        Raises:
            SuiteError: what lies in the file's place is none of this user's.
        """
        with _opened(self._directory, f"{self._name}.wake") as file:
            # Shorter or as long: what is read meanwhile is one or the other.
            os.pwrite(file, wake.encode(), 0)
            os.ftruncate(file, len(wake))

    def wake(self) -> Wake:
        """Return how far the local platform's waker is; ``Wake.NOT`` for what nobody writes.

        Raises:
            SuiteError: the file cannot be read.
        """
        path = self._directory / f"{self._name}.wake"
        said = b""
        with _refusals(path), contextlib.suppress(FileNotFoundError):
            said = path.read_bytes()
        return next((each for each in Wake if each.encode() == said), Wake.NOT)

    def _acquire(
        self, file: int, me: Holder, waiting: Callable[[str], None], wait_seconds: float
    ) -> None:
        if _try_lock(file):
            return
        told: Holder | None = None
        with _opened(self._directory, f"{self._name}.next") as queue:
            first = _read(queue)
            if me.commit and not (first and _supersedes(first, me)):
                _write(queue, me)

            def is_ours() -> bool:
                nonlocal told
                if _try_lock(file):
                    return True
                holder = _read(file)
                if holder and holder != told:
                    waiting(f"{self._name} is held by {holder}; waiting for it")
                    told = holder
                newer = _read(queue) if me.commit else None
                if newer and _supersedes(newer, me):
                    raise HeldError(
                        f"{self._name}: {newer} waits as well and is newer; this run of "
                        f"{me.commit} makes way for it"
                    )
                return False

            wait_until(
                f"{self._name} is still held",
                is_ours,
                deadline_seconds=wait_seconds,
                poll_seconds=POLL_SECONDS,
                late=lambda _: HeldError(
                    f"{self._name} is still held by {told or 'somebody'} after "
                    f"{wait_seconds:.0f} s",
                    hint="end that run, or wait for it; the lock goes with its process",
                ),
            )
            if _read(queue) == me:
                os.ftruncate(queue, 0)


@contextlib.contextmanager
def _opened(directory: Path, name: str) -> Iterator[int]:
    """Yield a lock file, made if it is missing.

    Raises:
        SuiteError: it cannot be opened, or somebody else can put another file in its place.
    """
    with _refusals(directory / name):
        folder, shared = _open_folder(directory)
        try:
            file = _open(folder, name, shared=shared)
        finally:
            os.close(folder)
    try:
        yield file
    finally:
        os.close(file)


@contextlib.contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Raise a SuiteError that names a lock's file, or folder, where the system refuses it."""
    try:
        yield
    except OSError as error:
        raise SuiteError(
            f"the lock file or folder {path} cannot be opened: {error.strerror or error}",
            hint=f"look at `ls -ld {path.parent} {path}`; nobody else may have made or be able to "
            "write them. XDG_STATE_HOME names another place",
        ) from error


def _open_folder(path: Path) -> tuple[int, bool]:
    """Return a descriptor of the folder of locks, and whether a group shares it.

    Raises:
        OSError: it cannot be opened, or strangers can write to it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    found = os.fstat(folder)
    group = bool(found.st_mode & stat.S_IWGRP)
    fault = ""
    if found.st_uid not in {0, os.getuid()}:
        fault = f"its folder belongs to user {found.st_uid}"
    elif found.st_mode & stat.S_IWOTH or (group and found.st_uid != 0):
        fault = "others can write to its folder"
    if fault:
        os.close(folder)
        raise OSError(fault)
    return folder, group


def _open(folder: int, name: str, *, shared: bool) -> int:
    """Return a descriptor of a lock file; OSError if it is not one that only its users can write.

    Args:
        folder: the folder's descriptor.
        shared: whether a group shares the folder, and its files.
    """
    mode = 0o660 if shared else 0o600
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        # Never O_CREAT on a file that may be another user's: fs.protected_regular may refuse that.
        file = os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        try:
            file = os.open(name, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
            os.fchmod(file, mode)  # despite the umask
        except FileExistsError:
            file = os.open(name, flags, dir_fd=folder)
    found = os.fstat(file)
    # A hard link would be another file of this user, which is about to be truncated.
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_mode & stat.S_IWOTH:
        os.close(file)
        raise OSError("it is no plain file that only its users can write")
    return file


def _try_lock(file: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(file: int, holder: Holder) -> None:
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(asdict(holder)).encode(), 0)


def _read(file: int) -> Holder | None:
    """Return the holder in a lock file; None while it is empty or half written."""
    try:
        return parse(Holder, os.pread(file, 4096, 0), "the lock")
    except UnreadableError:
        return None


def _supersedes(waiter: Holder, other: Holder) -> bool:
    """Return True if a waiter supersedes another one, and has not died while it waited."""
    return waiter.supersedes(other) and is_alive(waiter.pid)
