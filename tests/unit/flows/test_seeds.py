"""Seeds are made whole or not at all, listed, and swept away."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.adapters.seed_store import SeedFolder
from tasks.core.errors import InputError, SuiteError
from tasks.core.seeds import DATA, MANIFEST, UPLOADS, read_server
from tasks.flows.seeds import (
    SeedOrder,
    find_seeds,
    make_seed,
    newest_id,
    plan_seed_sweep,
    run_seed_sweep,
)

NOW = datetime(2026, 11, 27, 7, 12, 5, tzinfo=UTC)
ORDER = SeedOrder("prod", "ab" * 32, {"plugins": ["AcmeBundle"]}, contacts=50)
BYTES = [b"one", b"two"]
UPLOADED = {
    **{"files": 2, "content_bytes": 9, "tar_sha256": "12" * 32},
    **{"bytes": 2, "file_sha256": hashlib.sha256(b"wo").hexdigest()},
}
"""What a manifest says of the uploads, of which ``BYTES`` has the last two."""
OF_THEM = {"bytes": 4, "file_sha256": hashlib.sha256(b"onet").hexdigest(), "uploads": UPLOADED}


def test_a_server_is_told_to_the_program_and_named_without_its_password() -> None:
    server = read_server("reader@replica.shop.test:3307", "word")
    assert str(server) == "reader@replica.shop.test:3307"
    assert "word" not in repr(server)
    told = json.loads(replace(ORDER, server=server).line())["server"]
    assert told == {
        **{"host": "replica.shop.test", "port": 3307},
        **{"user": "reader", "password": "word"},
    }
    bare = replace(ORDER, server=read_server("10.0.0.9", "word"))
    assert json.loads(bare.line())["server"] == {"host": "10.0.0.9"}
    assert "server" not in json.loads(ORDER.line())


class Program:
    """Stands for the program in a container.

    Attributes:
        asked: the lines it was given.
    """

    def __init__(self, error: BaseException | None = None, **manifest: Any) -> None:
        self.asked: list[bytes] = []
        self._error = error
        self._manifest = {
            "format": "mautic-seed 1",
            "mautic": "7.0.0",
            "contacts": 50,
            "rows": {"leads": 50},
            "bytes": 6,
            "file_sha256": hashlib.sha256(b"".join(BYTES)).hexdigest(),
            "rules_sha256": "cd" * 32,
            **manifest,
        }

    def __call__(
        self, line: bytes, take: Callable[[bytes], None], on_line: Callable[[str], None]
    ) -> None:
        self.asked.append(line)
        on_line("mask: 25 rows so far")
        for each in BYTES:
            take(each)
        if self._error:
            raise self._error
        on_line("mask: done")
        on_line(json.dumps(self._manifest))


@pytest.fixture
def store(tmp_path: Path) -> SeedFolder:
    return SeedFolder(tmp_path / "seeds")


def make(store: SeedFolder, program: Program | None = None, now: datetime = NOW) -> list[str]:
    """Make a seed; return what was said."""
    said: list[str] = []
    make_seed(store, ORDER, program or Program(), said.append, now)
    return said


def test_a_seed_is_kept_with_its_manifest(store: SeedFolder) -> None:
    program = Program()
    assert make(store, program) == ["mask: 25 rows so far", "mask: done"]
    (asked,) = program.asked
    assert asked.endswith(b"}\n")
    given = {"key": ORDER.key, "rules": dict(ORDER.rules), "contacts": 50}
    assert json.loads(asked) == {**given, "uploads": True}
    # What an image from before uploads understands.
    assert json.loads(replace(ORDER, uploads=False).line()) == given
    (seed,) = find_seeds(store).whole
    assert (seed.source, seed.contacts, seed.rows) == ("prod", "50", 50)
    assert b"".join(store.read(seed.id, DATA)) == b"onetwo"
    assert ORDER.key not in seed.manifest


@pytest.mark.parametrize(
    "program",
    [
        Program(SuiteError("exit status 1")),
        Program(KeyboardInterrupt()),
        Program(file_sha256="00" * 32),
        Program(format="mautic-seed 9"),
        Program(rows=None),
        Program(**{**OF_THEM, "bytes": 3}),
        Program(**{**OF_THEM, "uploads": {**UPLOADED, "bytes": 1}}),
        Program(**{**OF_THEM, "uploads": {**UPLOADED, "file_sha256": "00" * 32}}),
        Program(uploads=UPLOADED),
        Program(bytes=4, file_sha256=OF_THEM["file_sha256"]),
    ],
)
def test_a_seed_that_fails_leaves_nothing(store: SeedFolder, program: Program) -> None:
    with pytest.raises((SuiteError, KeyboardInterrupt)):
        make(store, program)
    assert store.parts() == {}


def test_uploads_are_kept_beside_the_data_behind_which_they_came(store: SeedFolder) -> None:
    make(store, Program(**OF_THEM))
    (seed,) = (kept := find_seeds(store)).whole
    assert b"".join(store.read(seed.id, DATA)) == b"onet"
    assert b"".join(store.read(seed.id, UPLOADS)) == b"wo"
    assert re.search("2 uploads", kept.rows()[0][-1])


def test_a_program_that_ends_in_silence_has_made_no_seed(store: SeedFolder) -> None:
    def silent(line: bytes, take: Callable[[bytes], None], on_line: Callable[[str], None]) -> None:
        take(b"one")

    with pytest.raises(SuiteError, match="without a manifest"):
        make_seed(store, ORDER, silent, print, NOW)
    assert store.parts() == {}


def test_seeds_of_one_second_are_told_apart(store: SeedFolder) -> None:
    for _ in range(3):
        make(store)
    ids = [seed.id for seed in find_seeds(store).whole]
    assert ids == ["20261127t071205", "20261127t071206", "20261127t071207"]


def test_what_is_no_whole_seed_is_told_apart(store: SeedFolder) -> None:
    make(store)
    store.write("20261127t080000", DATA, [b"x"])
    store.write("20261127t090000", MANIFEST, [b"\xff"])
    store.write("somebody-elses", "notes", [b"x"])
    kept = find_seeds(store)
    assert [seed.id for seed in kept.whole] == ["20261127t071205"]
    assert kept.unfinished == ("20261127t080000",)
    assert list(kept.broken) == ["20261127t090000"]
    assert [row[0] for row in kept.rows()] == ["20261127t071205"]


def test_a_sweep_takes_what_is_over_and_leaves_the_newest(store: SeedFolder) -> None:
    for days in (90, 40, 1):
        make(store, Program(**OF_THEM), now=NOW - timedelta(days=days))
    store.write("20261119t000000", UPLOADS, [b"of a sweep that was killed"])
    store.write("20261120t000000", DATA, [b"of a run that was killed"])
    killed = Path(str(store)) / "20261121t000000" / f".{DATA}.k1ll3d"
    killed.parent.mkdir()
    killed.write_bytes(b"of a run that was killed before that had its name")
    store.write("20261127t071000", DATA, [b"of a run that goes on"])
    store.write("somebody-elses", "notes", [b"x"])
    sweep = plan_seed_sweep(find_seeds(store), timedelta(days=30), NOW)
    assert list(sweep.gone) == [
        *("20260829t071205", "20261018t071205"),
        *("20261119t000000", "20261120t000000", "20261121t000000"),
    ]
    assert [step.subject for step in sweep.steps] == [f"seed {id_}" for id_ in sweep.gone]
    run_seed_sweep(store, sweep)
    assert set(store.parts()) == {"20261126t071205", "20261127t071000", "somebody-elses"}
    assert plan_seed_sweep(find_seeds(store), timedelta(days=30), NOW).steps == ()


def test_the_newest_seed_is_the_last_that_is_whole(tmp_path: Path) -> None:
    store = SeedFolder(tmp_path)
    with pytest.raises(InputError, match="there are no seeds in"):
        newest_id(store)
    for id_ in ("20260301t000000", "20260201t000000"):
        for name in (DATA, MANIFEST):
            store.write(id_, name, [b"x"])
    store.write("20260401t000000", DATA, [b"x"])
    assert newest_id(store) == "20260301t000000"
