"""Downloads files, each with a checksum, a limit of bytes and a deadline, and caches them."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from tasks.adapters.files.cache import cache_folder
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.platform import UpstreamFile

SILENCE_SECONDS = (10.0, 60.0)
"""To connect, and without a byte of the answer."""

DEADLINE_SECONDS = 300.0
LIMIT_BYTES = 32 * 1024 * 1024
"""What helm/platform/upstream.yaml names has 1 MB at most."""

CHUNK_BYTES = 1024 * 1024


def fetch(
    wanted: UpstreamFile,
    *,
    environ: Mapping[str, str] = os.environ,
    limit_bytes: int = LIMIT_BYTES,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Path:
    """Return the path of a file, which is downloaded once and kept in the user's cache.

    Args:
        wanted: the file.
        environ: where XDG_CACHE_HOME and HOME are read.
        limit_bytes: the most that is read.
        deadline_seconds: how long the download may take.

    Raises:
        SuiteError: as for ``download``.
    """
    kept = place(wanted, environ)
    if kept.is_file() and _digest(kept) == wanted.sha256:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".new-") as scratch:
        fresh = Path(scratch) / kept.name
        download(
            wanted.url,
            fresh,
            sha256=wanted.sha256,
            limit_bytes=limit_bytes,
            deadline_seconds=deadline_seconds,
            otherwise="where this machine has no way there, fetch it elsewhere and put it at "
            f"{kept}",
        )
        fresh.replace(kept)
    return kept


def place(wanted: UpstreamFile, environ: Mapping[str, str] = os.environ) -> Path:
    """Return a file's path in the cache; its name is the last part of the URL."""
    folder = cache_folder(environ) / "downloads" / wanted.sha256[:16]
    return folder / wanted.url.rpartition("/")[2]


def download(
    url: str,
    into: Path,
    *,
    sha256: str,
    limit_bytes: int,
    deadline_seconds: float,
    otherwise: str | None = None,
) -> None:
    """Download a file; what is in ``into`` after an error must not be used.

    Args:
        url: where it is.
        into: where it is written.
        sha256: its checksum.
        limit_bytes: the most that is read; a server that sends more is not listened to any longer.
        deadline_seconds: how long all of it may take, headers included.
        otherwise: the hint if the server cannot be reached.

    Raises:
        SuiteError: it cannot be reached, is larger, takes longer, or is another file.
    """
    reading = _Reading(url, into, limit_bytes)
    reading.start()
    try:
        reading.join(deadline_seconds)
    finally:
        reading.stopped.set()
    if reading.is_alive():
        raise SuiteError(f"{url} took longer than {deadline_seconds:g} s", hint=otherwise)
    if isinstance(reading.failure, SuiteError):
        raise reading.failure
    if reading.failure:
        raise SuiteError(
            f"{url} cannot be fetched: {reading.failure}", hint=otherwise
        ) from reading.failure
    if reading.digest != sha256:
        raise SuiteError(
            f"{url} is not the file that it was: its SHA-256 is {reading.digest}",
            hint="nothing was changed; whoever replaced it has to say why before another checksum "
            "is written down here",
        )


class _Reading(threading.Thread):
    """Reads a file, in a thread that can be left behind: a server may send a byte a minute.

    Attributes:
        digest: the SHA-256 of what was read.
        failure: why it could not be read, or None.
        stopped: set when nobody waits for it any longer.
    """

    def __init__(self, url: str, into: Path, limit_bytes: int) -> None:
        super().__init__(daemon=True)
        self._url = url
        self._into = into
        self._limit_bytes = limit_bytes
        self.digest = ""
        self.failure: Exception | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        """Read the file, and keep the error if there is one."""
        import requests
        from urllib3.exceptions import HTTPError

        try:
            self._read()
        except (requests.RequestException, HTTPError, OSError, SuiteError) as error:
            self.failure = error

    def _read(self) -> None:
        import requests

        digest, left = hashlib.sha256(), self._limit_bytes
        # Compressed for the way, the file would have another checksum, and no size in advance.
        plain = {"Accept-Encoding": "identity"}
        with (
            requests.get(self._url, headers=plain, stream=True, timeout=SILENCE_SECONDS) as answer,
            self._into.open("wb") as out,
        ):
            answer.raise_for_status()
            # What has arrived, not a whole chunk: the end of the wait must be noticed.
            while (chunk := answer.raw.read1(CHUNK_BYTES)) and not self.stopped.is_set():
                left -= len(chunk)
                if left < 0:
                    raise SuiteError(f"{self._url} is larger than {self._limit_bytes} bytes")
                digest.update(chunk)
                out.write(chunk)
        self.digest = digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
