"""A seed on a real database server: whole or not at all, once, and nobody writes into it."""

from __future__ import annotations

import io
import secrets
import threading
from collections.abc import Callable, Iterator

import docker
import pymysql
import pytest

from provisioner.seed_file import SeedError, statements
from provisioner.server import Login, Server, ServerError, set_up
from tests.support.provisioner import ADMINISTRATOR, Database, running_database
from tests.support.seeds import FORMER, KEY, OPENING, sealed

OWN = Login("mt__manager", secrets.token_urlsafe(24))
BRANCH = Login("mt_branch", secrets.token_urlsafe(24))
TABLES = [
    "CREATE TABLE `users` (id INT PRIMARY KEY, role_id INT, name VARCHAR(99),"
    " CONSTRAINT own FOREIGN KEY (role_id) REFERENCES `roles` (id));",
    "CREATE TABLE `roles` (id INT PRIMARY KEY);",
    "INSERT INTO `users` (id, role_id, name) VALUES (1,1,'50 %s off; a\\nline'),(2,1,x'c3a9');",
    "INSERT INTO `roles` (id) VALUES (1);",
]
MANY = [f"INSERT INTO `roles` (id) VALUES ({number});" for number in range(2, 20_000)]  # noqa: S608


@pytest.fixture(scope="module")
def database(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with running_database(engine, tmp_path_factory.mktemp("database")) as made:
        set_up(made.address, ADMINISTRATOR, OWN, "mt_")
        yield made


@pytest.fixture
def server(database: Database) -> Server:
    made = Server(database.address, lambda: OWN, "mt_")
    made.provide("mt_branch", BRANCH.user, BRANCH.password)
    return made


@pytest.fixture
def seed() -> str:
    return f"{secrets.randbelow(10**8):08}t000000"


def source(content: bytes, key: str = KEY) -> Callable[[], Iterator[bytes]]:
    return lambda: statements(io.BytesIO(content), bytes.fromhex(key), len(content))


def never() -> Iterator[bytes]:
    raise AssertionError("it is read once more")


def left(database: Database) -> list[str]:
    """The databases that a run that was cut off has left, and its user."""
    return sorted(name for name in database.names() if name.endswith("__n") or name == "mt__seeds")


def test_a_seed_of_before_is_loaded_with_unique_checks() -> None:
    *opening, last = source(sealed([FORMER]))()
    assert [line.decode() for line in opening] == [*OPENING]
    assert last.decode() == OPENING[1]


def test_a_seed_is_loaded_once_and_branches_read_it_alone(
    server: Server, database: Database, seed: str
) -> None:
    said: list[str] = []
    assert server.plant(seed, source(sealed(TABLES)), said.append)
    assert not server.plant(seed, never, said.append)
    place = f"mt_seed__{seed}"
    names = database.sql(f"SELECT name FROM {place}.users ORDER BY id", BRANCH)  # noqa: S608
    assert names == ["50 %s off; a\nline", "é"]
    assert said == left(database) == []
    for statement in (
        f"INSERT INTO {place}.roles VALUES (9)",  # noqa: S608
        f"CREATE TABLE {place}.more (id INT)",
        f"DROP DATABASE {place}",
        f"CREATE DATABASE {place}2",
    ):
        with pytest.raises(pymysql.MySQLError):
            database.sql(statement, BRANCH)


def test_what_is_not_whole_is_not_there_and_the_next_run_begins_again(
    server: Server, database: Database, seed: str
) -> None:
    content = sealed([*TABLES, *MANY])
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (content[:-20], changed, content + b"x", content[:10]):
        with pytest.raises(SeedError):
            server.plant(seed, source(damaged), print)
    with pytest.raises(SeedError, match="of another key"):
        server.plant(seed, source(content, "ee" * 32), print)
    assert f"mt_seed__{seed}" not in database.names()
    # As a run that was killed leaves it: nobody was there to tidy up.
    database.sql("CREATE USER mt__seeds IDENTIFIED BY 'known'")
    assert server.plant(seed, source(content), print)
    assert database.sql(f"SELECT COUNT(*) FROM mt_seed__{seed}.roles") == [19_999]  # noqa: S608
    assert left(database) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DROP DATABASE mt_branch;",
        "INSERT INTO `users` VALUES (3,1,'a');",
        "INSERT INTO `mt_branch`.`secret` (id) VALUES (1);",
        "GRANT ALL ON *.* TO mt_branch;",
    ],
)
def test_what_is_no_statement_of_a_seed_ends_it(
    server: Server, database: Database, seed: str, statement: str
) -> None:
    with pytest.raises(SeedError, match="none of a seed"):
        server.plant(seed, source(sealed([*TABLES, statement])), print)
    assert f"mt_seed__{seed}" not in database.names()


def test_whoever_has_the_key_reaches_no_branch_by_a_seed(
    server: Server, database: Database, seed: str
) -> None:
    database.sql("CREATE TABLE IF NOT EXISTS mt_branch.secret (id INT)")
    stolen = "INSERT INTO `roles` (id) SELECT id FROM mt_branch.secret;"
    with pytest.raises(ServerError, match="denied"):
        server.plant(seed, source(sealed([*TABLES, stolen])), print)
    assert f"mt_seed__{seed}" not in database.names()


def test_two_at_once_load_it_once(server: Server, database: Database, seed: str) -> None:
    content, made, said = sealed([*TABLES, *MANY]), [], []

    def run() -> None:
        made.append(server.plant(seed, source(content), said.append))

    runs = [threading.Thread(target=run) for _ in range(3)]
    for each in runs:
        each.start()
    for each in runs:
        each.join(60)
    assert sorted(made) == [False, False, True]
    assert "another run loads a seed; waiting for it" in said


def test_a_seed_goes_unless_it_is_asked_for_meanwhile(
    server: Server, database: Database, seed: str
) -> None:
    server.plant(seed, source(sealed(TABLES)), print)
    assert not server.uproot(seed, lambda: False)
    assert f"mt_seed__{seed}" in database.names()
    assert server.uproot(seed, lambda: True)
    assert f"mt_seed__{seed}" not in database.names()
    assert server.uproot(seed, lambda: True)
    for wrong in ("", "x", f"{seed}__n", "../x"):
        with pytest.raises(ValueError, match="no seed's id"):
            server.uproot(wrong, lambda: True)
