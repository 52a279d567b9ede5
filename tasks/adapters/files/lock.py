"""A lock that lets one run at a time change an environment, across all users of this machine.

The kernel releases the lock (flock(2)) when its holder ends, however it ends, so there are no stale
locks. The content of the file only says who holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tasks.adapters.identity import is_alive
from tasks.adapters.wait import wait_until
from tasks.core.environment import Holder, parse
from tasks.core.errors import HeldError, SuiteError, UnreadableError

# Not tempfile.gettempdir(): TMPDIR may differ between two users, who would lock different files.
DIRECTORY = Path("/tmp/mautic-multidev-locks")  # noqa: S108
POLL_SECONDS = 0.2
WAIT_SECONDS = 1800.0
"""How long a run waits for the lock: longer than any deploy takes."""


class FileLock:
    """The lock of one environment.

    Args:
        name: what is locked, e.g. the Compose project; a plain file name.
        directory: where the lock files of all users of this machine live.
    """

    def __init__(self, name: str, directory: Path = DIRECTORY) -> None:
        self._name = name
        self._path = directory / f"{name}.lock"
        self._queue = directory / f"{name}.next"

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
        with _opened(self._path) as file:
            self._acquire(file, me, waiting, wait_seconds)
            try:
                _write(file, me)
                yield
            finally:
                os.ftruncate(file, 0)

    def holder(self) -> Holder | None:
        """Return who holds the lock now, or None."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            # Shared: two runs that only look must not see each other as holders.
            if _try_lock(file, fcntl.LOCK_SH):
                return None
            return _read(file)
        finally:
            os.close(file)

    def _acquire(
        self, file: int, me: Holder, waiting: Callable[[str], None], wait_seconds: float
    ) -> None:
        if _try_lock(file):
            return
        told: Holder | None = None
        with _opened(self._queue) as queue:
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
def _opened(path: Path) -> Iterator[int]:
    """Yield a file that every user of the machine can lock and write."""
    file = _open(path)
    try:
        yield file
    finally:
        os.close(file)


def _open(path: Path) -> int:
    try:
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir()
            # Despite the umask; sticky, so that no user removes another user's file.
            path.parent.chmod(0o1777)
        # Never O_CREAT on a file that may be another user's: fs.protected_regular refuses that in
        # a sticky directory.
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        os.fchmod(file, 0o666)
        return file
    except OSError as error:
        raise SuiteError(
            f"the lock file {path} cannot be opened: {error.strerror}",
            hint=f"look at `ls -ld {path.parent} {path}`; it must be writable for all users",
        ) from error


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
