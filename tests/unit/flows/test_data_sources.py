"""What comes in the place of a branch's data: a seed, checked and handed on with its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.adapters.seed_store import SeedFolder
from tasks.adapters.terminal.console import Console
from tasks.core.environment import Owner
from tasks.core.errors import InputError, SuiteError, UnreadableError
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.core.seeds import DATA, UPLOADS, complete_manifest, new_id, read_manifest
from tasks.flows.data import ADMINISTERED, Place, SeedSource, mask, plant, share

KEY = "ab" * 32
CONTENT = [b"one" * 100_000, b"two"]
ID = new_id(datetime(2026, 11, 27, 7, 12, 5, tzinfo=UTC))
NAMES = Names("feature-x", "dev", "feature-x", "m-feature-x", "h", "http://h", "r", "m_x", "m_x")


class Container:
    """Stands for the PHP container of a branch.

    Attributes:
        asked: the commands, with all that they were sent.
        status: the exit status of the next one.
        says: what it says if that is not 0.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], bytes]] = []
        self.status = 0
        self.says = "sow: the seed is damaged, cut off, or of another key"

    def pipe(
        self,
        owner: Owner,
        names: Names,
        words: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        self.asked.append((tuple(words), b"".join(source)))
        if self.status:
            on_line(self.says)
        return self.status

    def admin_password(self, names: Names) -> str:
        return "the administrator's"


@pytest.fixture
def container() -> Container:
    return Container()


@pytest.fixture
def place(container: Container) -> Place:
    owner = Owner("dev", "feature-x", "feature-x", "https://git.example.org/m")
    return Place(owner, NAMES, container, cast("Any", None))


PICTURES = b"a sealed tar of pictures"


@pytest.fixture
def source(tmp_path: Path) -> SeedSource:
    """A seed with uploads."""
    found = bare(tmp_path)
    found.store.write(ID, UPLOADS, [PICTURES])
    manifest = json.loads(found.seed.manifest)
    manifest["uploads"] = {
        **{"files": 2, "content_bytes": 9, "tar_sha256": "ef" * 32},
        **{"bytes": len(PICTURES), "file_sha256": hashlib.sha256(PICTURES).hexdigest()},
    }
    return replace(found, seed=read_manifest(json.dumps(manifest), ID))


def bare(folder: Path) -> SeedSource:
    """Keep a seed without uploads."""
    store = SeedFolder(folder)
    store.write(ID, DATA, CONTENT)
    whole = b"".join(CONTENT)
    program = {
        **{"format": "mautic-seed 1", "mautic": "7.0.0", "contacts": "all", "rows": {"leads": 2}},
        **{"bytes": len(whole), "file_sha256": hashlib.sha256(whole).hexdigest()},
        "rules_sha256": "cd" * 32,
    }
    manifest = complete_manifest(json.dumps(program), ID, "prod", KEY)
    return SeedSource(store, read_manifest(manifest, ID), KEY)


@pytest.fixture
def console() -> Console:
    return Console(Redactor())


def test_a_seed_goes_to_the_program_behind_a_line_that_says_how_to_read_it(
    source: SeedSource, place: Place, container: Container, console: Console
) -> None:
    source.check(console)
    source.stage(place, console)
    source.put(place, console)
    (before, files), (words, sent) = container.asked
    assert words == (*ADMINISTERED, *("mautic", "database", "sow", "migrate", "uploads"))
    password, line, content = sent.split(b"\n", 2)
    assert password.decode() == "the administrator's"
    assert content == b"".join(CONTENT)
    given = json.loads(line)
    assert (given["key"], given["bytes"]) == (KEY, len(content))
    assert given["admin"]["password"] == "the administrator's"
    assert KEY not in " ".join((*words, *before))
    assert source.has_uploads
    assert ID in source.title
    # They come first, and take their place together with the tables.
    assert before == ("mautic", "uploads", "stage")
    line, _, content = files.partition(b"\n")
    assert content == PICTURES
    assert json.loads(line) == {"key": KEY, "bytes": len(PICTURES), "sha256": "ef" * 32}


def test_a_seed_of_before_uploads_leaves_those_of_the_branch(
    tmp_path: Path, place: Place, container: Container, console: Console
) -> None:
    source = bare(tmp_path)
    source.check(console)
    source.stage(place, console)
    source.put(place, console)
    source.put_uploads(place, console)
    (words, _), *more = container.asked
    assert words[-2:] == ("sow", "migrate")
    assert not more
    assert not source.has_uploads
    assert "no uploads" in source.title


def test_a_seed_s_uploads_come_alone_where_the_server_has_its_rows(
    source: SeedSource, place: Place, container: Container, console: Console
) -> None:
    source.put_uploads(place, console)
    assert [words[-1] for words, _ in container.asked] == ["stage", "place"]


def test_shared_uploads_are_not_copied_and_its_rows_lead_to_them(
    source: SeedSource, place: Place, container: Container, console: Console, tmp_path: Path
) -> None:
    (tmp_path / ID / UPLOADS).unlink()
    shared = replace(source, shared=True)
    shared.check(console)
    shared.stage(place, console)
    shared.put(place, console)
    (before, _), (words, sent) = container.asked
    assert before == ("mautic", "uploads", "begin")
    assert words[-2:] == ("sow", "migrate")
    assert json.loads(sent.split(b"\n", 2)[1])["shared"] is True
    # Those of a seed on the branch's server.
    container.asked.clear()
    shared.put_uploads(place, console)
    assert [words for words, _ in container.asked] == [before]


@dataclass
class Shelf:
    """Stands for what fills the volumes that branches share."""

    status: int = 0
    sent: bytes = b""
    asked: tuple[str, str] = ("", "")

    def fill(
        self, id_: str, image: str, source: Iterable[bytes], on_line: Callable[[str], None]
    ) -> int:
        self.asked, self.sent = (id_, image), b"".join(source)
        on_line("uploads: the seed is damaged, cut off, or of another key")
        return self.status

    def unused(self) -> list[str]:
        return []

    def remove(self, id_: str) -> None:
        """There is nothing."""


def test_what_is_shared_is_read_as_a_copy_is(
    source: SeedSource, console: Console, tmp_path: Path
) -> None:
    shelf = Shelf()
    share(shelf, source, "the image", console)
    line, _, content = shelf.sent.partition(b"\n")
    assert (shelf.asked, content) == ((ID, "the image"), PICTURES)
    assert json.loads(line) == {"key": KEY, "bytes": len(PICTURES), "sha256": "ef" * 32}
    shelf.status = 1
    with pytest.raises(SuiteError, match="the seed is damaged"):
        share(shelf, source, "the image", console)
    with pytest.raises(SuiteError, match="has no uploads"):
        share(shelf, bare(tmp_path / "bare"), "the image", console)


@pytest.mark.parametrize("part", [DATA, UPLOADS])
def test_a_seed_that_was_changed_is_noticed_before_anything_is_sent(
    source: SeedSource, tmp_path: Path, container: Container, console: Console, part: str
) -> None:
    path = tmp_path / ID / part
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UnreadableError, match=f"seed {ID} is not what its manifest says"):
        source.check(console)
    path.unlink()
    with pytest.raises(InputError, match=f"has no {part} of seed {ID}"):
        source.check(console)
    assert container.asked == []


def test_the_programs_own_words_are_the_error(
    source: SeedSource, place: Place, container: Container, console: Console
) -> None:
    container.status = 1
    with pytest.raises(SuiteError, match="the seed is damaged, cut off, or of another key"):
        source.put(place, console)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (64, "uploads: say dump, load BYTES SHA256, sow, or reset"),
        (78, "mask: stdin must be a line of JSON, an object with key, salt, rules"),
    ],
)
def test_an_image_from_before_uploads_of_seeds_is_to_be_deployed_anew(
    place: Place, container: Container, status: int, says: str
) -> None:
    container.status, container.says = status, says
    with pytest.raises(SuiteError) as raised:
        mask(place, b"{}", print, print)
    assert "deploy it anew" in str(raised.value.hint)


@dataclass
class Server:
    """Stands for the program that loads seeds into a server.

    Attributes:
        status: its exit status.
        sent: what it was sent.
    """

    status: int = 0
    sent: bytes = b""

    def plant(self, source: Iterable[bytes], on_line: Callable[[str], None]) -> int:
        self.sent = b"".join(source)
        on_line("plant: the seed is damaged")
        return self.status


def test_a_seed_is_handed_to_the_server_behind_what_it_is(
    source: SeedSource, console: Console
) -> None:
    server = Server()
    plant(server, source, console)
    line, _, content = server.sent.partition(b"\n")
    assert json.loads(line) == {"id": ID, "key": KEY, "bytes": len(content)}
    assert content == b"".join(CONTENT)
    with pytest.raises(SuiteError, match="the seed is damaged"):
        plant(Server(status=1), source, console)
