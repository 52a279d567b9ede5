"""What the provisioner does on a real database server: as its limited user, by TLS."""

from __future__ import annotations

import dataclasses
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pymysql
import pytest

from provisioner.server import Address, Login, Server, ServerError, set_up
from tests.support.controlplane import Pki
from tests.support.provisioner import ADMINISTRATOR, Database, running_database

PREFIX = "mt_"
OWN = Login("mt__provisioner", "o'wn \"pass\\word %s")
NASTY = "p'a\"s\\s`w rd;-- %_%s"


@pytest.fixture(scope="module")
def database(
    engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    with running_database(engine, tmp_path_factory.mktemp("database")) as made:
        for _ in range(2):  # once more changes nothing
            set_up(made.address, ADMINISTRATOR, OWN, PREFIX)
        yield made


@pytest.fixture
def server(database: Database) -> Server:
    return Server(database.address, lambda: OWN, PREFIX)


@pytest.fixture
def name() -> str:
    return f"mt_{secrets.token_hex(4)}"


def test_a_tenant_has_its_own_database_and_no_other(
    server: Server, database: Database, name: str
) -> None:
    # In GRANT a _ stands for any character: the second name must not be covered by the first.
    first, second = f"{name}_b", f"{name}xb"
    for tenant in (first, second):
        server.provide(tenant, tenant, NASTY)
        server.provide(tenant, tenant, NASTY)
    database.sql("CREATE TABLE t (v INT)", Login(second, NASTY), second)
    assert database.sql("SHOW TABLES", Login(second, NASTY), second) == ["t"]
    for statement in (
        f"SELECT * FROM {second}.t",  # noqa: S608
        f"CREATE DATABASE {name}_more",
        f"DROP DATABASE {second}",
        "SELECT user FROM mysql.user",
        "CREATE USER mt_evil IDENTIFIED BY 'x'",
        f"GRANT SELECT ON `{first}`.* TO '{second}'@'%'",
    ):
        with pytest.raises(pymysql.MySQLError):
            database.sql(statement, Login(first, NASTY), first)
    server.provide(first, first, "another")
    with pytest.raises(pymysql.MySQLError):
        database.sql("SELECT 1", Login(first, NASTY))
    for tenant in (first, second):
        server.remove(tenant, tenant)
        server.remove(tenant, tenant)
    assert not database.names() & {first, second}


def test_a_tenant_has_databases_beside_its_own_and_they_go_with_it(
    server: Server, database: Database, name: str
) -> None:
    first, second = f"{name}_b", f"{name}xb"
    for tenant in (first, second):
        server.provide(tenant, tenant, NASTY)
    for beside in (f"{first}__n", f"{first}__o"):
        database.sql(f"CREATE DATABASE {beside}", Login(first, NASTY))
    for refused in (f"{second}__n", f"{name}ab__n", "mt_seed__1"):
        with pytest.raises(pymysql.MySQLError):
            database.sql(f"CREATE DATABASE {refused}", Login(first, NASTY))
    database.sql("CREATE DATABASE mt_seed__1")
    assert "mt_seed__1" in database.sql("SHOW DATABASES", Login(first, NASTY))
    server.provide("mt_seed", "mt_seed", NASTY)
    with pytest.raises(pymysql.MySQLError):
        database.sql("CREATE TABLE mt_seed__1.t (v INT)", Login("mt_seed", NASTY))
    for tenant in (first, second, "mt_seed"):
        server.remove(tenant, tenant)
    left = {each for each in database.names() if each.startswith((name, "mt_seed"))}
    assert left == {"mt_seed__1"}
    database.sql("DROP DATABASE mt_seed__1")


def test_a_database_is_lent_to_one_copy_at_a_time_and_taken_back(
    server: Server, database: Database, name: str
) -> None:
    # In GRANT a _ stands for any character: the second name must not be covered by the first.
    first, second = f"{name}_b", f"{name}xb"
    for tenant in (first, second):
        server.provide(tenant, tenant, NASTY)
        database.sql(f"CREATE TABLE {tenant}.t (v INT)")
    database.sql("CREATE USER mt__reader IDENTIFIED BY 'known'")  # as a killed one leaves it
    rows = f"SELECT * FROM {first}.t"  # noqa: S608
    said: list[str] = []
    with server.lend(first, said.append) as reader:
        assert database.sql(rows, reader) == []
        for statement in (
            f"SELECT * FROM {second}.t",  # noqa: S608
            f"INSERT INTO {first}.t VALUES (1)",  # noqa: S608
            f"CREATE TABLE {first}.more (v INT)",
            f"GRANT SELECT ON `{first}`.* TO '{second}'@'%'",
        ):
            with pytest.raises(pymysql.MySQLError):
                database.sql(statement, reader)
        server.recall()
        assert database.sql(rows, reader) == []
        taken = threading.Event()

        def lend_other() -> None:
            with server.lend(second, said.append):
                taken.set()

        other = threading.Thread(target=lend_other)
        other.start()
        assert not taken.wait(0.5)
    other.join(30)
    assert taken.is_set()
    assert said == ["another branch is being copied on this server; waiting for its end"]
    for left in (reader.user, "mt__reader"):
        assert left not in database.names()
    with pytest.raises(ValueError, match="is no name of"), server.lend("other_app", said.append):
        pass
    database.sql("CREATE USER mt__reader IDENTIFIED BY 'known'")
    server.recall()
    assert "mt__reader" not in database.names()
    database.sql(
        f"CREATE TRIGGER {first}.late BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
        ADMINISTRATOR,
        first,
    )
    with pytest.raises(ServerError, match="has the trigger late"), server.lend(first, print):
        pass
    for tenant in (first, second):
        server.remove(tenant, tenant)


def test_the_provisioner_s_user_reaches_nothing_outside_its_prefix(database: Database) -> None:
    """The administrator's grant, not this program, is what holds."""
    database.sql("CREATE DATABASE IF NOT EXISTS other_app")
    database.sql("CREATE TABLE IF NOT EXISTS other_app.t (v INT)")
    for statement in (
        "SELECT * FROM other_app.t",
        "DROP DATABASE other_app",
        "CREATE DATABASE other_more",
        "CREATE DATABASE mtx",  # mt_ is no pattern
        "SELECT * FROM mysql.global_priv",
        "GRANT ALL PRIVILEGES ON *.* TO mt__provisioner",
        "GRANT ALL PRIVILEGES ON other_app.* TO mt__provisioner",
        "GRANT SUPER ON *.* TO mt__provisioner",
        "SET GLOBAL max_connections = 1",
        "SHOW GRANTS FOR root",
    ):
        with pytest.raises(pymysql.MySQLError):
            database.sql(statement, OWN)
    shown = set(database.sql("SHOW DATABASES", OWN))
    assert not {name for name in shown if not name.startswith(PREFIX)} - {"information_schema"}


@pytest.mark.parametrize(
    ("base", "user"),
    [
        ("other_x", "mt_x"),
        ("mysql", "mt_x"),
        ("mt_", "mt_x"),
        ("mt_X", "mt_x"),
        ("mt_x`; DROP DATABASE mysql; --", "mt_x"),
        ("mt_x\n", "mt_x"),
        ("mt_x__n", "mt_x"),
        (f"mt_{'x' * 62}", "mt_x"),
        ("mt_x", "root"),
        ("mt_x", "mt_x'@'%"),
        ("mt_x", f"mt_{'x' * 30}"),
        ("mt_x", OWN.user),
    ],
)
def test_names_that_are_not_the_project_s_are_refused(
    server: Server, database: Database, base: str, user: str
) -> None:
    before = database.names()
    with pytest.raises(ValueError, match="is no name of mt_"):
        server.provide(base, user, NASTY)
    with pytest.raises(ValueError, match="is no name of mt_"):
        server.remove(base, user)
    assert database.names() == before


@pytest.mark.parametrize("prefix", ["", "_", "mysql", "%_", "mt%_", "mt`_", "MT_"])
def test_no_prefix_opens_the_whole_server(database: Database, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        set_up(database.address, ADMINISTRATOR, OWN, prefix)
    with pytest.raises(ValueError, match="prefix"):
        Server(database.address, lambda: OWN, prefix)


def test_a_server_with_another_certificate_gets_no_password(
    database: Database, tmp_path: Path
) -> None:
    stranger = Pki(tmp_path / "pki")
    for address, why in (
        (
            dataclasses.replace(database.address, ca=str(stranger.root / "ca.crt")),
            "CERTIFICATE_VERIFY_FAILED",
        ),
        (dataclasses.replace(database.address, host="127.0.0.2"), "IP address mismatch"),
        (dataclasses.replace(database.address, ca=str(tmp_path / "none.pem")), "No such file"),
    ):
        with pytest.raises(ServerError, match=why) as caught:
            Server(address, lambda: OWN, PREFIX).provide("mt_x", "mt_x", NASTY)
        assert OWN.password not in str(caught.value)


def test_the_provisioner_cannot_log_in_without_tls(database: Database) -> None:
    plain = Address(database.address.host, database.address.port)
    with pytest.raises(ServerError, match="Access denied"):
        Server(plain, lambda: OWN, PREFIX).provide("mt_x", "mt_x", NASTY)


def test_no_password_is_told(database: Database, server: Server) -> None:
    with pytest.raises(ServerError) as caught:
        Server(database.address, lambda: Login(OWN.user, "wrong-one"), PREFIX).remove(
            "mt_x", "mt_x"
        )
    assert "Access denied" in str(caught.value)
    assert "wrong-one" not in str(caught.value) + repr(caught.value.__cause__)
    assert OWN.password not in repr(OWN)


def test_an_open_transaction_holds_a_drop_up_and_ends_it_with_an_error(
    database: Database, server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.server.LOCK_SECONDS", 1)
    server.provide(name, name, NASTY)
    database.sql("CREATE TABLE t (v INT)", Login(name, NASTY), name)
    held = pymysql.connect(
        host=database.address.host,
        port=database.address.port,
        user=name,
        password=NASTY,
        database=name,
        ssl_ca=database.address.ca,
    )
    with held.cursor() as cursor:
        cursor.execute("SELECT * FROM t")
    with pytest.raises(ServerError, match="DROP: 1205"):
        server.remove(name, name)
    with pytest.raises(pymysql.MySQLError):
        database.sql("SELECT 1", Login(name, NASTY))
    held.close()
    server.remove(name, name)
    assert name not in database.names()
