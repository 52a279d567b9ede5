"""The suite's own package: which one is installed, and what the wheel of another one holds."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.adapters.files.download import download
from tasks.core.errors import InputError

NAME = "mautic-multidev"
_INSIDE = "mautic_multidev/suite/"
_WHEEL = re.compile(r"mautic_multidev-([^-]+)-py3-none-any\.whl")
_LIMIT_BYTES = 64 * 1024**2
_DEADLINE_SECONDS = 300.0


class Wheel:
    """A wheel of the suite.

    Args:
        path: its file.

    Raises:
        InputError: there is no such file, or it is no wheel of the suite.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise InputError(f"there is no file {path}")
        named = _WHEEL.fullmatch(path.name)
        if named is None:
            raise InputError(f"{path.name} is no wheel of mautic-multidev")
        self.version = named[1]
        try:
            self.content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        self._path = path

    def texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return files of the suite's, by name.

        Raises:
            InputError: the wheel does not have them.
        """
        try:
            with zipfile.ZipFile(self._path) as archive:
                return {name: archive.read(f"{_INSIDE}{name}").decode() for name in names}
        except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self._path.name} is no wheel of mautic-multidev: {error}"
            ) from error


def installed_from() -> str:
    """Return where pip took the running package from: its wheel's path, or its URL with checksum.

    Raises:
        InputError: pip has not noted it, as for one from an index, or it was no wheel.
    """
    hint = "name the wheel by --wheel"
    try:
        noted = metadata.distribution(NAME).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        noted = None
    if noted is None:
        raise InputError("pip has not noted which wheel this suite is from", hint=hint)
    record = json.loads(noted)
    url, hashes = record["url"], record.get("archive_info", {}).get("hashes", {})
    parts = urlsplit(url)
    if not parts.path.endswith(".whl"):
        raise InputError(f"this suite was not installed from a wheel but from {url}", hint=hint)
    return unquote(parts.path) if parts.scheme == "file" else f"{url}#sha256={hashes['sha256']}"


@contextmanager
def opened(source: str) -> Iterator[tuple[Wheel, str]]:
    """Yield a wheel, and where pip gets it: a URL, or empty for a file.

    Args:
        source: a path, or a URL that ends in ``#sha256=`` and the checksum.

    Raises:
        InputError: it is neither, or no wheel of the suite.
        SuiteError: it cannot be downloaded, or is another file.
    """
    if "://" not in source:
        yield Wheel(Path(source).expanduser()), ""
        return
    url, _, checksum = source.partition("#sha256=")
    if not re.fullmatch(r"[0-9a-f]{64}", checksum):
        raise InputError(f"--wheel {url}: a URL must end in #sha256= and the checksum of the wheel")
    with tempfile.TemporaryDirectory(prefix="inv-wheel-") as scratch:
        path = Path(scratch) / unquote(urlsplit(url).path).rpartition("/")[2]
        download(
            url,
            path,
            sha256=checksum,
            limit_bytes=_LIMIT_BYTES,
            deadline_seconds=_DEADLINE_SECONDS,
        )
        yield Wheel(path), url
