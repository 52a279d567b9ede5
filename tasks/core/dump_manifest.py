"""The manifest of a dump: what is in it, and how to tell that all of it is there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tasks.core.errors import UnreadableError

FORMAT = "mautic-multidev dump 1"
DATABASE, UPLOADS, MANIFEST = "database.sql.gz", "uploads.tar", "manifest.json"
"""The files in a dump, in their order: the manifest is written last."""


@dataclass(frozen=True)
class Member:
    """A file in a dump.

    Attributes:
        sha256: in hexadecimal.
    """

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a dump says of itself.

    Attributes:
        environment: the environment of invoke.yaml that it was made in.
        made_at: ISO 8601.
        mautic: the version of the code that ran, or an empty string.
        migrations: those that the database had seen.
        rows: number of rows by table.
        members: the files in it, by name.
    """

    branch: str
    environment: str
    made_at: str
    mautic: str
    migrations: tuple[str, ...]
    rows: Mapping[str, int]
    members: Mapping[str, Member]

    @property
    def title(self) -> str:
        """The dump in a few words, for plans."""
        version = f"Mautic {self.mautic}, " if self.mautic else ""
        return f"{self.branch} of {self.made_at} ({version}{sum(self.rows.values())} rows)"

    def to_json(self) -> str:
        """Return the manifest as the text of its file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n"


def read_manifest(text: bytes) -> Manifest:
    """Return the manifest that a file holds.

    Raises:
        UnreadableError: it is none, or one of a later suite.
    """
    try:
        found = json.loads(text)
        if found["format"] != FORMAT:
            raise UnreadableError(f"its format is {found['format']!r}, not {FORMAT!r}")
        members = {name: member_of(found["members"][name]) for name in (DATABASE, UPLOADS)}
        return Manifest(
            **{key: str(found[key]) for key in ("branch", "environment", "made_at", "mautic")},
            migrations=tuple(map(str, found["migrations"])),
            rows={str(name): int(count) for name, count in dict(found["rows"]).items()},
            members=members,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"its {MANIFEST} is damaged: {error!r}") from error


def measure(chunks: Iterable[bytes]) -> Member:
    """Return size and checksum of bytes that come in parts."""
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
    return Member(size, digest.hexdigest())


def member_of(found: Mapping[str, Any]) -> Member:
    """Return what is said of a file; KeyError, TypeError or ValueError if it is not said."""
    sha256 = str(found["sha256"])
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"{sha256!r} is no SHA-256")
    return Member(int(found["bytes"]), sha256)
