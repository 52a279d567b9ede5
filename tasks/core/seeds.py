"""Seeds: masked copies of an environment's data, from which branches get theirs.

A seed is kept as files below its id: what is encrypted, in one or two parts, and its manifest; it
is whole once the manifest is there. docs/images.md ("A masked seed") says how it is made.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.core.display import megabytes
from tasks.core.dump_manifest import Member, member_of
from tasks.core.errors import InputError, SuiteError

DATA, UPLOADS, MANIFEST = "seed.sql.gz.enc", "uploads.tar.enc", "manifest.json"
"""The files of a seed, in the order in which they are written; not every seed has uploads."""
FORMAT = "mautic-seed 1"

_SERVER = re.compile(r"(?:(?P<user>[^@:\s]+)@)?(?P<host>[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_ID = re.compile(r"[0-9]{8}t[0-9]{6}")
_UNFINISHED_FOR = timedelta(days=1)
"""No run takes as long: 100 million rows are masked in half an hour."""


@dataclass(frozen=True)
class SourceServer:
    """A server that is read in place of the environment's own; what is empty is as there.

    Attributes:
        host: its name or IPv4 address.
        port: its port.
        user: who reads.
        password: the user's.
    """

    host: str
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        user, port = self.user and f"{self.user}@", self.port and f":{self.port}"
        return f"{user}{self.host}{port or ''}"

    def given(self) -> dict[str, int | str]:
        """Return what the program that masks is told."""
        return {name: value for name, value in asdict(self).items() if value}


def read_server(text: str, password: str) -> SourceServer:
    """Return the server that ``[USER@]HOST[:PORT]`` names.

    Args:
        text: what names it.
        password: the user's, if one is named.

    Raises:
        InputError: it names none.
    """
    found = _SERVER.fullmatch(text)
    if not found or int(found["port"] or 1) not in range(1, 65536):
        # It is not repeated: who gives a password here should not find it in a log as well.
        raise InputError("--server must be [USER@]HOST[:PORT]")
    user = found["user"] or ""
    return SourceServer(found["host"], int(found["port"] or 0), user, password if user else "")


@dataclass(frozen=True)
class SeedUploads:
    """What a seed has of its source's uploads.

    Attributes:
        files: how many.
        sealed: the encrypted file.
        tar_sha256: of what is in it.
    """

    files: int
    sealed: Member
    tar_sha256: str

    @property
    def title(self) -> str:
        """How many there are, and their size."""
        return f"{self.files:,} uploads, {megabytes(self.sealed.bytes)}"


@dataclass(frozen=True)
class Seed:
    """One seed, by its manifest.

    Attributes:
        id: when it was made; part of the name of the database it is loaded into.
        source: the environment it was made of.
        mautic: Mautic's version there, or an empty string if its release does not say.
        contacts: how many contacts went along, or ``all``.
        rows: of all tables.
        sealed: the encrypted file.
        rules: hash of the rules it was masked by.
        manifest: the whole manifest.
        key_check: tells whether a key is that of the seed; empty in those of earlier versions.
    """

    id: str
    source: str
    mautic: str
    contacts: str
    rows: int
    sealed: Member
    rules: str
    manifest: str
    uploads: SeedUploads | None = None
    key_check: str = ""

    def is_of(self, key: str) -> bool:
        """Return False if the seed is known to be encrypted with another key.

        Args:
            key: 64 hexadecimal digits.
        """
        given = key_check(key, self.id).encode()
        return not self.key_check or hmac.compare_digest(self.key_check.encode(), given)

    @property
    def parts(self) -> Mapping[str, Member]:
        """The encrypted files, by name, in their order."""
        more = {UPLOADS: self.uploads.sealed} if self.uploads else {}
        return {DATA: self.sealed, **more}

    @property
    def title(self) -> str:
        """The seed in a few words."""
        uploads = self.uploads.title if self.uploads else "no uploads"
        return f"seed {self.id} of {self.source} ({self.rows:,} rows, masked; {uploads})"

    def without_uploads(self) -> Seed:
        """Return the seed as if it had none."""
        return replace(self, uploads=None)

    @property
    def made_at(self) -> datetime:
        """When it was made, in UTC."""
        return made_at(self.id)

    def expires_at(self, lifetime: timedelta) -> datetime:
        """Return when it may be removed."""
        return self.made_at + lifetime

    def as_dict(self) -> dict[str, Any]:
        """Return what is shown of it as JSON-ready data."""
        return {
            **{"id": self.id, "source": self.source, "mautic": self.mautic},
            **{"contacts": self.contacts, "rows": self.rows, "bytes": self.sealed.bytes},
            "uploads": self.uploads
            and {"files": self.uploads.files, "bytes": self.uploads.sealed.bytes},
            **{"rules_sha256": self.rules, "made_at": self.made_at.isoformat()},
        }


def new_id(now: datetime, taken: Container[str] = ()) -> str:
    """Return the id of a seed that is made now, in UTC; ids sort by time.

    Args:
        now: the time; an id holds its seconds.
        taken: ids that there are; the next free second is told in place of one of them.
    """
    while (id_ := now.astimezone(UTC).strftime("%Y%m%dt%H%M%S")) in taken:
        now += timedelta(seconds=1)
    return id_


def made_at(id_: str) -> datetime:
    """Return when a seed was made, in UTC."""
    return datetime.strptime(id_, "%Y%m%dt%H%M%S").replace(tzinfo=UTC)


def check_id(text: str) -> str:
    """Return the id of a seed.

    Raises:
        InputError: it is none.
    """
    if not _ID.fullmatch(text):
        raise InputError(f"{text!r} is no seed's id", hint="`inv db.seed --list` shows them")
    return text


def key_check(key: str, id_: str) -> str:
    """Return what tells whether a key is that of a seed, and nothing else of it: an HMAC of its id.

    Args:
        key: 64 hexadecimal digits.
        id_: the seed's id.
    """
    return hmac.digest(bytes.fromhex(key), id_.encode(), "sha256").hex()


def complete_manifest(program: str, id_: str, source: str, key: str) -> str:
    """Return the manifest that is kept, made of the one that ``database mask`` writes.

    Args:
        program: the program's manifest, JSON.
        id_: the seed's id.
        source: the environment it was made of.
        key: what it is encrypted with, 64 hexadecimal digits.

    Raises:
        SuiteError: the program's is none.
    """
    try:
        found = json.loads(program)
        more = {"id": id_, "source": source, "key_check": key_check(key, id_)}
        return json.dumps({**found, **more}, indent=2) + "\n"
    except (ValueError, TypeError) as error:
        raise SuiteError(f"what masked {source} ended without a manifest") from error


def read_manifest(text: str, id_: str) -> Seed:
    """Return the seed that a manifest describes.

    Args:
        text: the manifest as it is kept.
        id_: the id below which it is kept.

    Raises:
        SuiteError: it is no manifest of that seed, or of a format that this version cannot read.
    """
    try:
        found = json.loads(text)
        if (found["id"], found["format"]) != (id_, FORMAT):
            raise SuiteError(f"the manifest is of {found['id']}, {found['format']}")
        return Seed(
            id=id_,
            source=str(found["source"]),
            mautic=str(found["mautic"] or ""),
            contacts=str(found["contacts"]),
            rows=sum(int(count) for count in found["rows"].values()),
            sealed=_sealed(found),
            rules=str(found["rules_sha256"]),
            manifest=text,
            uploads=_uploads(found["uploads"]) if "uploads" in found else None,
            key_check=str(found.get("key_check") or ""),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SuiteError(f"the manifest of seed {id_} cannot be read: {error!r}") from error


def _sealed(found: Mapping[str, Any]) -> Member:
    return member_of({"bytes": found["bytes"], "sha256": found["file_sha256"]})


def _uploads(found: Mapping[str, Any]) -> SeedUploads:
    return SeedUploads(int(found["files"]), _sealed(found), str(found["tar_sha256"]))


def expired(seeds: Sequence[Seed], lifetime: timedelta, now: datetime) -> list[Seed]:
    """Return the seeds whose time is over; the newest of each source stays whatever its age."""
    newest = {seed.source: seed.id for seed in sorted(seeds, key=lambda seed: seed.id)}
    return [
        seed
        for seed in seeds
        if seed.expires_at(lifetime) <= now and newest[seed.source] != seed.id
    ]


def abandoned(id_: str, now: datetime) -> bool:
    """Return True if what is kept below an id without a manifest is of a run long over."""
    return bool(_ID.fullmatch(id_)) and now - made_at(id_) > _UNFINISHED_FOR
