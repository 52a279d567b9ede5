"""Masking and cloning a Mautic's data: 10,000 contacts and a million rows of what they did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import docker

from tests.bench.measure import Row, say
from tests.integration.standin_support import until
from tests.support.masking import VERSIONS, columns
from tests.support.masking_server import (
    FIRST,
    Branch,
    Server,
    begin_branch,
    enlarge,
    masking_server,
)

CONTACTS = 10_000
EVENTS = {
    "email_stats": 300_000,
    "page_hits": 300_000,
    "lead_event_log": 200_000,
    "campaign_lead_event_log": 200_000,
}
AT_ONCE = 20
MASK_SECONDS, CLONE_SECONDS, AT_ONCE_SECONDS, WAIT_SECONDS = 120, 30, 180, 1


def measure_data(scratch: Path) -> list[Row]:
    """`mautic database mask` and `clone` against a copy of the same tables by the server alone."""
    rows = []
    with masking_server(docker.from_env(), scratch, in_memory=False) as server:
        for version in (VERSIONS[0], VERSIONS[-1]):
            rows += _measure(server, version, most=AT_ONCE if version == VERSIONS[-1] else 1)
    return rows


def _measure(server: Server, version: str, most: int) -> list[Row]:
    say(f"a source of {version} with {sum(EVENTS.values()):,} rows")
    source = server.source(version)
    enlarge(server, source, {"leads": CONTACTS, **EVENTS})
    plain = copy_plainly(server, source)

    say("mask")
    with writing(server, source) as waits:
        started = time.monotonic()
        status, said, folder = server.mask(source)
        seconds = time.monotonic() - started
    if status:
        raise RuntimeError(said)
    longest = max(waits)
    rows = [
        _row(f"mask, {version}", seconds, plain, MASK_SECONDS),
        Row(
            *(f"longest of {len(waits)} writes and ALTERs meanwhile", f"{longest:.2f} s", ""),
            *("", f"<= {WAIT_SECONDS} s", longest <= WAIT_SECONDS),
        ),
    ]
    seed = load_seed(server, folder)

    for count in sorted({1, most}):
        say(f"clones at once: {count}")
        branches = [begin_branch(server) for _ in range(count)]
        seconds = clone(branches, seed)
        limit = CLONE_SECONDS if count == 1 else AT_ONCE_SECONDS
        rows.append(_row(f"clones at once: {count}, {version}", seconds, plain, limit))
        for branch in branches:
            server.ask(f"DROP DATABASE {branch.name}")
    for database in (source, seed):
        server.ask(f"DROP DATABASE {database}")
    return rows


def _row(what: str, seconds: float, plain: float, limit: float) -> Row:
    figures = (f"{seconds:.1f} s", f"{plain:.1f} s", f"{seconds / plain:.2f}")
    return Row(f"{what} / INSERT … SELECT of all", *figures, f"<= {limit} s", seconds <= limit)


@contextmanager
def writing(server: Server, database: str) -> Iterator[list[float]]:
    """Write to each large table, and change its definition, while the context lasts.

    Returns:
        A context with the seconds that each statement took.
    """
    waits: list[float] = []
    over = Event()

    def write() -> None:
        with closing(server.connect(database)) as connection, connection.cursor() as cursor:
            while not over.wait(0.05):
                for table in ("leads", *EVENTS):
                    for statement in (
                        f"UPDATE {table} SET id = id WHERE id = {FIRST}",  # noqa: S608
                        f"ALTER TABLE {table} COMMENT = 'changed', ALGORITHM = INSTANT",
                    ):
                        started = time.monotonic()
                        cursor.execute(statement)
                        waits.append(time.monotonic() - started)

    thread = Thread(target=write, daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()


def copy_plainly(server: Server, database: str) -> float:
    """Return the seconds that the server needs to copy all tables, one after the other."""
    target = f"{database}_copy"
    say("the server alone: CREATE TABLE … LIKE, INSERT … SELECT")
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {target}")
        stored: dict[str, list[str]] = {}
        for each in columns(cursor, database):
            if not each.generated:
                stored.setdefault(each.table, []).append(f"`{each.name}`")
        started = time.monotonic()
        for table, names in stored.items():
            listed = ", ".join(names)
            cursor.execute(f"CREATE TABLE {target}.`{table}` LIKE `{table}`")
            cursor.execute(
                f"INSERT INTO {target}.`{table}` ({listed}) SELECT {listed} FROM `{table}`"  # noqa: S608
            )
        seconds = time.monotonic() - started
        cursor.execute(f"DROP DATABASE {target}")
    return seconds


def load_seed(server: Server, folder: Path) -> str:
    """Decrypt a seed, and load it into a database of its own; return its name."""
    status, said, sql = server.unseal(folder)
    if status:
        raise RuntimeError(said)
    return server.load(sql)


def clone(branches: list[Branch], seed: str) -> float:
    """Clone a seed into all branches at once; return the seconds until the last has its data."""
    started = time.monotonic()
    ends = [branch.start(seed) for branch in branches]
    until("end of all clones", lambda: all(each.exists() for each in ends), 3600)
    seconds = time.monotonic() - started
    for each in ends:
        if (status := each.read_text().strip()) != "0":
            raise RuntimeError(f"a clone ended with {status}: {each.with_name('said').read_text()}")
    return seconds
