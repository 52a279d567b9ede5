"""Downloads files, verifies their checksums and caches them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tasks.adapters.files.cache import cache_folder
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.platform import UpstreamFile

TIMEOUT_SECONDS = (10.0, 60.0)
CHUNK_BYTES = 1024 * 1024


def fetch(wanted: UpstreamFile, *, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of a file, which is downloaded once and kept in the user's cache.

    Args:
        wanted: the file.
        environ: where XDG_CACHE_HOME and HOME are read.

    Raises:
        SuiteError: it cannot be downloaded, or its checksum is wrong.
    """
    kept = place(wanted, environ)
    if kept.is_file() and _digest(kept) == wanted.sha256:
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".new-") as scratch:
        fresh = Path(scratch) / kept.name
        _download(wanted, fresh, kept)
        found = _digest(fresh)
        if found != wanted.sha256:
            raise SuiteError(
                f"{wanted.url} is not the file that it was: its SHA-256 is {found}",
                hint="nothing was changed; whoever replaced it has to say why before "
                "helm/platform/upstream.yaml names the new one",
            )
        fresh.replace(kept)
    return kept


def place(wanted: UpstreamFile, environ: Mapping[str, str] = os.environ) -> Path:
    """Return a file's path in the cache; its name is the last part of the URL."""
    folder = cache_folder(environ) / "downloads" / wanted.sha256[:16]
    return folder / wanted.url.rpartition("/")[2]


def _download(wanted: UpstreamFile, into: Path, kept: Path) -> None:
    import requests

    try:
        with requests.get(wanted.url, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            answer.raise_for_status()
            with into.open("wb") as out:
                for chunk in answer.iter_content(CHUNK_BYTES):
                    out.write(chunk)
    except requests.RequestException as error:
        raise SuiteError(
            f"{wanted.url} cannot be fetched: {error}",
            hint=f"where this machine has no way there, fetch it elsewhere and put it at {kept}",
        ) from error


def _digest(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
