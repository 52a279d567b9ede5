"""Makes, lists and removes seeds, wherever they are kept."""

from __future__ import annotations

import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import IO, Any, Protocol

from tasks.adapters.seed_store import CHUNK_BYTES, SeedStore
from tasks.core.display import megabytes
from tasks.core.dump_manifest import measure
from tasks.core.errors import InputError, SuiteError
from tasks.core.plan import Step
from tasks.core.seeds import (
    DATA,
    MANIFEST,
    UPLOADS,
    Seed,
    SourceServer,
    abandoned,
    complete_manifest,
    expired,
    new_id,
    read_manifest,
)

COLUMNS = ("seed", "source", "Mautic", "contacts", "rows", "size", "uploads")
SWEEP_COLUMNS = ("seed", "reason")
SHARED_COLUMNS = ("uploads of seed", "reason")


class Masking(Protocol):
    """Runs ``mautic database seed`` beside the source's database."""

    def __call__(
        self, line: bytes, take: Callable[[bytes], None], on_line: Callable[[str], None], /
    ) -> None:
        """Run it.

        Args:
            line: its standard input.
            take: called with what it writes to its standard output, part by part.
            on_line: called with every line of its standard error.

        Raises:
            SuiteError: it fails, or the connection to it does.
        """


@dataclass(frozen=True)
class SeedOrder:
    """What a seed is to be made of.

    Attributes:
        source: the environment.
        key: what it is encrypted with, 64 hexadecimal digits.
        rules: the project's own rules.
        contacts: how many contacts go along; 0 for all.
        uploads: whether uploads go along.
        server: what is read in place of the environment's own server.
    """

    source: str
    key: str
    rules: Mapping[str, Any]
    contacts: int = 0
    uploads: bool = True
    server: SourceServer | None = None

    def line(self) -> bytes:
        """Return the line of JSON that the program reads."""
        given = {"key": self.key, "rules": dict(self.rules), "contacts": self.contacts}
        # An image from before them knows no such words.
        if self.uploads:
            given["uploads"] = True
        if self.server:
            given["server"] = self.server.given()
        return json.dumps(given).encode() + b"\n"


@dataclass(frozen=True)
class SeedPlan:
    """What making a seed does.

    Attributes:
        source: the environment.
        database: the database that is read.
        contacts: how many contacts go along; 0 for all.
        uploads: whether uploads go along.
        store: where it is kept.
        server: what is read in place of the environment's own server.
    """

    source: str
    database: str
    contacts: int
    uploads: bool
    store: str
    server: str = ""

    @property
    def title(self) -> str:
        """The plan's title."""
        return f"make a seed of {self.source}"

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order."""
        who = f"{self.contacts} contacts" if self.contacts else "all contacts"
        where = f"read from {self.server}" if self.server else "where it is"
        mask = Step("mask", f"database {self.database}", f"{who}, {where}")
        take = Step("take", "uploads", "pictures, dashboards, files of assets; as they are")
        keep = Step("keep", f"the seed in {self.store}", "encrypted")
        return (mask, take, keep) if self.uploads else (mask, keep)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {"title": self.title, **asdict(self), "steps": [asdict(each) for each in self.steps]}


@dataclass(frozen=True)
class KeptSeeds:
    """What a store holds.

    Attributes:
        whole: the seeds, the oldest first.
        broken: why others cannot be read, by id.
        unfinished: ids of runs that are going on, or were cut off.
    """

    whole: tuple[Seed, ...]
    broken: Mapping[str, str]
    unfinished: tuple[str, ...]

    def rows(self) -> list[tuple[str, ...]]:
        """Return a row for each seed."""
        return [
            (
                *(each.id, each.source, each.mautic, each.contacts),
                *(f"{each.rows:,}", megabytes(each.sealed.bytes)),
                each.uploads.title if each.uploads else "no uploads",
            )
            for each in self.whole
        ]


def make_seed(
    store: SeedStore,
    order: SeedOrder,
    masking: Masking,
    say: Callable[[str], None],
    now: datetime,
) -> Seed:
    """Make a seed of a source, and keep it; one that fails is not kept.

    Raises:
        SuiteError: it cannot be made or kept, or is not what its manifest says.
    """
    store.parts()  # One that cannot be read is told before minutes of masking.
    last: deque[str] = deque(maxlen=1)

    def hear(line: str) -> None:
        # One line late, for the last one is the manifest.
        if last:
            say(last[0])
        last.append(line)

    # What passes here is encrypted, and goes to the store once it is known to be whole.
    with tempfile.TemporaryFile() as file:

        def take(chunk: bytes) -> None:
            file.write(chunk)

        masking(order.line(), take, hear)
        id_ = new_id(now, store.parts())
        manifest = complete_manifest(last[0] if last else "", id_, order.source, order.key)
        seed = read_manifest(manifest, id_)
        came = file.seek(0, os.SEEK_END)
        sent = sum(each.bytes for each in seed.parts.values())
        file.seek(0)
        parts = seed.parts.values()
        if came != sent or any(measure(_next(file, each.bytes)) != each for each in parts):
            raise SuiteError(f"not all of seed {id_} has come: {sent} bytes were sent")
        file.seek(0)
        for name, each in seed.parts.items():
            store.write(id_, name, _next(file, each.bytes))
    store.write(id_, MANIFEST, [manifest.encode()])
    return seed


def _next(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the next bytes of a file."""
    while chunk := file.read(min(size, CHUNK_BYTES)):
        size -= len(chunk)
        yield chunk


def stored_seed(store: SeedStore, id_: str) -> Seed:
    """Return a seed that is kept.

    Raises:
        InputError: there is none of that id.
        SuiteError: its manifest cannot be read.
    """
    # What is no UTF-8 is no JSON of ours either.
    return read_manifest(b"".join(store.read(id_, MANIFEST)).decode(errors="replace"), id_)


def newest_id(store: SeedStore) -> str:
    """Return the id of the newest seed that is whole.

    Raises:
        InputError: there is none.
        SuiteError: the store cannot be read.
    """
    whole = [id_ for id_, names in store.parts().items() if {DATA, MANIFEST} <= names]
    if not whole:
        raise InputError(
            f"there are no seeds in {store}", hint="make one: inv db.seed --env ENVIRONMENT"
        )
    return max(whole)


def find_seeds(store: SeedStore) -> KeptSeeds:
    """Return what a store holds.

    Raises:
        SuiteError: it cannot be read.
    """
    whole, broken, unfinished = [], {}, []
    for id_, names in sorted(store.parts().items()):
        if not any(part in name for name in names for part in (DATA, UPLOADS, MANIFEST)):
            continue  # of somebody else
        if MANIFEST not in names:
            unfinished.append(id_)
            continue
        try:
            whole.append(stored_seed(store, id_))
        except SuiteError as error:
            broken[id_] = str(error)
    return KeptSeeds(tuple(whole), broken, tuple(unfinished))


@dataclass(frozen=True)
class SeedSweep:
    """Seeds that nobody needs any more.

    Attributes:
        gone: their ids, with the reason.
    """

    gone: Mapping[str, str]

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per seed."""
        return tuple(Step("remove", f"seed {id_}", why) for id_, why in self.gone.items())


def plan_seed_sweep(kept: KeptSeeds, lifetime: timedelta, now: datetime) -> SeedSweep:
    """Return the plan to remove seeds whose time is over, and what cut-off runs have left."""
    over = {each.id: "older than its lifetime" for each in expired(kept.whole, lifetime, now)}
    left = {id_: "of a run that was cut off" for id_ in kept.unfinished if abandoned(id_, now)}
    return SeedSweep({**over, **left})


@dataclass(frozen=True)
class SharedSweep:
    """Uploads of seeds that no branch shares any more.

    Attributes:
        gone: the seeds' ids.
    """

    gone: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """One step per seed."""
        return tuple(Step("remove", f"uploads of seed {id_}", why) for id_, why in self.rows)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The ids, with the reason."""
        return [(id_, "no branch shares them") for id_ in self.gone]


def run_seed_sweep(store: SeedStore, sweep: SeedSweep) -> None:
    """Remove seeds, manifests first: what has none is no seed."""
    for id_ in sweep.gone:
        store.remove(id_, [MANIFEST, DATA, UPLOADS])
