"""`mautic database create|drop`: a branch's database and user on a real server, and no other's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest

from tests.integration.image_support import look
from tests.integration.standin_support import TEST_LABEL, container, pair, until
from tests.support.images import standin

ROOT_PASSWORD = 'root\'s "own" $password\\'
NASTY = "p'a\"s\\s`w$ö rd;-- %_"
HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
WRITABLE = ("/tmp", "/var/www/html/var/cache", "/var/www/html/var/tmp")
SQL = """
    [, $user, $password, $database, $statement] = $argv;
    try {
        $server = new PDO("mysql:host={$_SERVER['MAUTIC_DB_HOST']};dbname={$database}",
            $user, $password, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
        $answer = $server->query($statement);
        echo $answer->columnCount() ? implode("\\n", $answer->fetchAll(PDO::FETCH_COLUMN)) : '';
    } catch (PDOException $e) {
        fwrite(STDERR, $e->getMessage());
        exit(1);
    }
"""


@dataclass
class Server:
    """A database server, and a container of the mautic image that reaches it."""

    database: Any
    client: Any
    host: str

    def role(self, verb: str, name: str = "", **environment: str) -> tuple[int, str]:
        """Run the role for a branch of a name; return exit status and output."""
        given = {
            "MAUTIC_DB_PREFIX": "mt_",
            "MAUTIC_DB_DATABASE": f"mt_{name}",
            "MAUTIC_DB_USER": f"mt_{name}",
            "MAUTIC_DB_PASSWORD": NASTY,
            "MAUTIC_DB_ADMIN_USER": "root",
            "MAUTIC_DB_ADMIN_PASSWORD": ROOT_PASSWORD,
            **environment,
        }
        done = self.client.exec_run(["mautic", "database", verb], environment=given)
        return done.exit_code, done.output.decode()

    def ok(self, verb: str, name: str, **environment: str) -> str:
        """Run the role, which must work; return its output."""
        status, said = self.role(verb, name, **environment)
        assert status == 0, said
        return said

    def sql(
        self, name: str, statement: str, *, database: str | None = None, password: str = NASTY
    ) -> tuple[int, str]:
        """Ask something as a branch's user; return exit status and answer, one value a line."""
        where = f"mt_{name}" if database is None else database
        argv = ["php", "-r", SQL, "--", f"mt_{name}", password, where, statement]
        done = self.client.exec_run(argv)
        return done.exit_code, done.output.decode()

    def names(self) -> set[str]:
        """Return the names of all databases and users."""
        query = (
            "SELECT schema_name FROM information_schema.schemata UNION SELECT user FROM mysql.user"
        )
        return set(self.root(query).split())

    def root(self, statements: str) -> str:
        """Run statements as the administrator; return the answer."""
        argv = ["mysql", "--host=127.0.0.1", "--user=root", "--skip-column-names", "-e", statements]
        status, said = look(self.database, *argv, environment={"MYSQL_PWD": ROOT_PASSWORD})
        assert status == 0, said
        return said


@pytest.fixture(scope="module")
def server(engine: docker.DockerClient) -> Iterator[Server]:
    name = f"mautic-multidev-test-{secrets.token_hex(4)}"
    network = engine.networks.create(name, labels={TEST_LABEL: "1"})
    try:
        with (
            container(
                engine,
                standin(engine, "database"),
                network=name,
                name=f"{name}-database",
                environment={"MYSQL_ROOT_PASSWORD": ROOT_PASSWORD},
                tmpfs={
                    "/var/lib/mysql": "uid=999,gid=999",
                    "/tmp": "",
                    "/run/mysqld": "uid=999,gid=999",
                },
                **HARDENED,
            ) as database,
            container(
                engine,
                pair(engine)[0],
                ["sleep", "3600"],
                network=name,
                environment={"MAUTIC_DB_HOST": f"{name}-database"},
                tmpfs=dict.fromkeys(WRITABLE, "uid=33,gid=33"),
                **HARDENED,
            ) as client,
        ):
            made = Server(database, client, f"{name}-database")
            # The role itself waits for the server.
            made.ok("create", "warm_up")
            made.ok("drop", "warm_up")
            yield made
    finally:
        network.remove()


@pytest.fixture
def branch(server: Server) -> Iterator[Callable[[str], str]]:
    """Makes branches' databases; they are gone afterwards."""
    made = []

    def make(name: str) -> str:
        server.ok("create", name)
        made.append(name)
        return name

    yield make
    for name in made:
        server.ok("drop", name)


def test_the_user_has_its_own_database_with_any_password(
    server: Server, branch: Callable[[str], str]
) -> None:
    one = branch("one")
    assert server.sql(one, "CREATE TABLE t (v VARCHAR(9))") == (0, "")
    assert server.sql(one, "INSERT INTO t VALUES ('é€😀')")[0] == 0
    encoding = "SELECT @@character_set_database"
    assert server.sql(one, encoding) == (0, "utf8mb4")
    assert server.sql(one, encoding, password="wrong")[0] == 1


def test_two_branches_users_cannot_see_each_others_database(
    server: Server, branch: Callable[[str], str]
) -> None:
    # In GRANT a _ stands for any character: the second name must not be covered by the first.
    first, second = branch("a_b"), branch("a1b")
    assert server.sql(second, "CREATE TABLE secret (v INT)")[0] == 0
    for mine, other in ((first, second), (second, first)):
        status, seen = server.sql(mine, "SHOW DATABASES")
        assert status == 0
        assert f"mt_{mine}" in seen.split()
        assert f"mt_{other}" not in seen.split()
        status, said = server.sql(mine, "SELECT 1", database=f"mt_{other}")
        assert (status, "denied" in said) == (1, True)
        for statement in (
            f"SELECT * FROM mt_{other}.secret",  # noqa: S608
            f"CREATE DATABASE mt_{mine}_more",
            f"DROP DATABASE mt_{other}",
            "SELECT user FROM mysql.user",
            "CREATE USER mt_evil IDENTIFIED BY 'x'",
        ):
            assert server.sql(mine, statement)[0] == 1, statement


def test_the_user_may_fill_databases_beside_its_own_and_read_what_all_may_read(
    server: Server, branch: Callable[[str], str]
) -> None:
    """Those that `mautic database load` moves tables from and to; masked data is read only."""
    first, second = branch("x_y"), branch("x1y")
    for beside in (f"mt_{first}__n", f"mt_{first}__0"):
        assert server.sql(first, f"CREATE DATABASE {beside}") == (0, "")
        assert server.sql(first, f"CREATE TABLE {beside}.t (v INT)") == (0, "")
        assert server.sql(second, f"SELECT * FROM {beside}.t")[0] == 1  # noqa: S608
    for refused in (f"mt_{first}_n", "mt_x1y__n", "mt_xay__n", "mt_seed__1"):
        assert server.sql(first, f"CREATE DATABASE {refused}")[0] == 1, refused
    seeds = server.ok("create", "seed")
    assert "no dump can be loaded" in seeds
    # Its own user may read what is beside it, and no more.
    assert server.sql("seed", "CREATE DATABASE mt_seed__1")[0] == 1
    server.root("CREATE DATABASE mt_seed__1; CREATE TABLE mt_seed__1.t (v INT)")
    assert server.sql(first, "SELECT COUNT(*) FROM mt_seed__1.t") == (0, "0")
    assert server.sql(first, "INSERT INTO mt_seed__1.t VALUES (1)")[0] == 1
    server.ok("drop", first)
    server.ok("drop", "seed")
    left = {name for name in server.names() if name.startswith(("mt_x_y", "mt_seed"))}
    assert left == {"mt_seed__1"}
    server.root("DROP DATABASE mt_seed__1")


def test_created_twice_keeps_the_data_and_takes_the_new_password(
    server: Server, branch: Callable[[str], str]
) -> None:
    one = branch("twice")
    server.sql(one, "CREATE TABLE kept (v INT)")
    server.ok("create", one)
    assert server.sql(one, "SHOW TABLES") == (0, "kept")
    server.ok("create", one, MAUTIC_DB_PASSWORD="another")
    assert server.sql(one, "SHOW TABLES", password="another") == (0, "kept")
    assert server.sql(one, "SHOW TABLES")[0] == 1


def test_drop_removes_both_though_somebody_is_connected(
    server: Server, branch: Callable[[str], str]
) -> None:
    one, other = branch("busy"), branch("bystander")
    server.sql(one, "CREATE TABLE t (v INT)")
    hold = (
        f"$c = new PDO('mysql:host={server.host};dbname=mt_{one}', 'mt_{one}', $argv[1]);"
        "$c->exec('LOCK TABLES t WRITE'); touch('/tmp/held');"
        "try { $c->query('SELECT SLEEP(600)'); } catch (PDOException) {} touch('/tmp/ended');"
    )
    server.client.exec_run(["php", "-r", hold, "--", NASTY], detach=True)
    until("connection", lambda: server.client.exec_run(["test", "-e", "/tmp/held"]).exit_code == 0)
    server.ok("drop", one)
    until("its end", lambda: server.client.exec_run(["test", "-e", "/tmp/ended"]).exit_code == 0)
    assert f"mt_{one}" not in server.names()
    assert f"mt_{other}" in server.names()
    assert server.sql(other, "SELECT 1") == (0, "1")
    server.ok("drop", one)
    server.ok("drop", "never_made")


@pytest.mark.parametrize(
    "changes",
    [
        {"MAUTIC_DB_DATABASE": "other_x"},
        {"MAUTIC_DB_DATABASE": "mysql"},
        {"MAUTIC_DB_DATABASE": "mt_"},
        {"MAUTIC_DB_DATABASE": "mt_X"},
        {"MAUTIC_DB_DATABASE": "mt_x`; DROP DATABASE mysql; --"},
        {"MAUTIC_DB_DATABASE": "mt_x\n"},
        {"MAUTIC_DB_DATABASE": "mt_x__n"},
        {"MAUTIC_DB_DATABASE": f"mt_{'x' * 62}"},
        {"MAUTIC_DB_USER": "root"},
        {"MAUTIC_DB_USER": "mt_x'@'%"},
        {"MAUTIC_DB_USER": f"mt_{'x' * 30}"},
        {"MAUTIC_DB_PREFIX": "mysql", "MAUTIC_DB_DATABASE": "mysql"},
        {"MAUTIC_DB_DATABASE": "performance_schema", "MAUTIC_DB_PREFIX": "performance_"},
        {"MAUTIC_DB_DATABASE": "information_schema", "MAUTIC_DB_PREFIX": "information_"},
        {"MAUTIC_DB_PREFIX": ""},
        {"MAUTIC_DB_PREFIX": "_"},
        {"MAUTIC_DB_ADMIN_PASSWORD": ""},
    ],
    ids=lambda changes: " ".join(f"{key[10:]}={value[:12]!r}" for key, value in changes.items()),
)
@pytest.mark.parametrize("verb", ["create", "drop"])
def test_what_is_not_a_branchs_is_refused(
    server: Server, verb: str, changes: dict[str, str]
) -> None:
    before = server.names()
    status, said = server.role(verb, "x", **changes)
    assert status == 78, said
    assert next(iter(changes)) in said
    assert "PHP" not in said
    assert server.names() == before


def test_settings_come_from_files_too(server: Server) -> None:
    script = (
        'printf \'%s\\n\' "$1" > /tmp/admin; printf %s "$2" > /tmp/branch;'
        "MAUTIC_DB_ADMIN_PASSWORD_FILE=/tmp/admin MAUTIC_DB_PASSWORD_FILE=/tmp/branch "
        "mautic database create && mautic database drop"
    )
    given = {
        "MAUTIC_DB_PREFIX": "mt_",
        "MAUTIC_DB_DATABASE": "mt_files",
        "MAUTIC_DB_USER": "mt_files",
        "MAUTIC_DB_ADMIN_USER": "root",
    }
    argv = ["sh", "-c", script, "sh", ROOT_PASSWORD, NASTY]
    done = server.client.exec_run(argv, environment=given)
    # The second command is not told of the files.
    assert done.exit_code == 78, done.output
    assert b"mt_files and its user mt_files are there" in done.output
    assert b"MAUTIC_DB_ADMIN_PASSWORD (or MAUTIC_DB_ADMIN_PASSWORD_FILE) is not set" in done.output
    server.ok("drop", "files")


def test_no_server_a_refusal_and_a_wrong_verb_have_their_own_status(server: Server) -> None:
    status, said = server.role("create", "x", MAUTIC_DB_HOST="127.0.0.1", MAUTIC_DB_WAIT="2")
    assert status == 75
    assert "database: waiting [database-refused]: 127.0.0.1:3306, as root: " in said
    assert "database: failed [database-refused]: 127.0.0.1:3306, as root: " in said
    status, said = server.role("create", "x", MAUTIC_DB_ADMIN_PASSWORD="wrong")
    assert status == 77
    assert said.startswith("database: failed [database-access-denied]: ")
    for argv in (["mautic", "database"], ["mautic", "database", "alter"]):
        assert server.client.exec_run(argv).exit_code == 64
    assert NASTY not in said
    assert ROOT_PASSWORD not in said
