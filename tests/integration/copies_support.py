"""A branch's database on a real server, and a container of the mautic image that reaches it."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pymysql

from tests.integration.standin_support import container, pair, until
from tests.support.controlplane import free_ports
from tests.support.images import standin
from tests.support.masking import fill

if TYPE_CHECKING:
    import docker

ROOT_PASSWORD = "of the root"
PASSWORD = "of the branch"


@dataclass
class Branch:
    """A branch's database, and the image beside it.

    Attributes:
        name: of the database and of its user.
        client: name of the container of the mautic image.
    """

    name: str
    client: str
    port: int

    def argv(self, *words: str, role: str = "database", held: bool = False) -> list[str]:
        given = {
            **({"MAUTIC_STDIN_HELD": "1"} if held else {}),
            "MAUTIC_SECRET_KEY": "5e" * 32,
            "MAUTIC_ADMIN_USERNAME": "chief",
            "MAUTIC_ADMIN_EMAIL": "chief@a.test",
            "MAUTIC_ADMIN_PASSWORD": "of the chief",
            "MAUTIC_DB_HOST": "127.0.0.1",
            "MAUTIC_DB_PORT": str(self.port),
            "MAUTIC_DB_DATABASE": self.name,
            "MAUTIC_DB_USER": self.name,
            "MAUTIC_DB_PASSWORD": PASSWORD,
            "MAUTIC_SITE_URL": "https://a.test",
            "MAUTIC_DB_SWAP_WAIT": "1",
            "MAUTIC_MIGRATE_LOCK_WAIT": "60",
        }
        options = [each for name, value in given.items() for each in ("--env", f"{name}={value}")]
        return ["docker", "exec", "-i", *options, self.client, "mautic", role, *words]

    def run(self, verb: str, sent: bytes = b"", *more: str) -> tuple[int, bytes, str]:
        """Run a verb; return exit status, stdout and stderr."""
        done = subprocess.run(self.argv(verb, *more), input=sent, capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr.decode()

    def ok(self, verb: str, sent: bytes = b"", *more: str) -> bytes:
        status, out, said = self.run(verb, sent, *more)
        assert status == 0, said
        return out

    def connect(self, user: str = "root") -> pymysql.Connection[Any]:
        password = ROOT_PASSWORD if user == "root" else PASSWORD
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=password, autocommit=True
        )

    def ask(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements in the branch's database; return the last one's answer."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"USE `{self.name}`")
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def beside(self) -> set[str]:
        """Return the databases beside the branch's own."""
        return {name for (name,) in self.ask("SHOW DATABASES") if name.startswith(f"{self.name}__")}

    def tables(self) -> set[str]:
        return {name for (name,) in self.ask("SHOW TABLES")}


class Server:
    """A database server, and a container of the mautic image that reaches it."""

    def __init__(self, client: str, port: int) -> None:
        self._client, self._port = client, port

    def branch(self, version: str = "") -> Branch:
        """Create a branch's database, full of a Mautic's tables, or empty."""
        made = Branch(f"mt_{secrets.token_hex(4)}", self._client, self._port)
        with closing(made.connect()) as connection, connection.cursor() as cursor:
            if version:
                fill(connection, made.name, version)
            else:
                cursor.execute(f"CREATE DATABASE {made.name}")
            cursor.execute(f"CREATE USER {made.name} IDENTIFIED BY '{PASSWORD}'")
            pattern = made.name.replace("_", r"\_")
            for own in (pattern, rf"{pattern}\_\_%"):
                cursor.execute(f"GRANT ALL ON `{own}`.* TO {made.name}")
        return made


@contextlib.contextmanager
def database_server(engine: docker.DockerClient, **options: Any) -> Iterator[Server]:
    """Run a server, and a container of the mautic image beside it, with more options for that."""
    (port,) = free_ports(1)
    with (
        container(
            engine,
            standin(engine, "database"),
            environment={"MYSQL_ROOT_PASSWORD": ROOT_PASSWORD},
            ports={"3306/tcp": ("127.0.0.1", port)},
            tmpfs={
                "/var/lib/mysql": "uid=999,gid=999",
                "/tmp": "",
                "/run/mysqld": "uid=999,gid=999",
            },
        ),
        container(
            *(engine, pair(engine)[0], ["sleep", "3600"]), network_mode="host", **options
        ) as client,
    ):
        made = Server(client.name, port)

        def answers() -> bool:
            try:
                Branch("", "", port).connect().close()
            except pymysql.MySQLError:
                return False
            return True

        until("database", answers)
        yield made


def content(branch: Branch) -> dict[str, Any]:
    """Return each table's definition and rows."""
    with closing(branch.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"USE `{branch.name}`")
        found = {}
        for table in branch.tables():
            cursor.execute(f"SHOW CREATE TABLE `{table}`")
            definition = cursor.fetchall()[0][1]
            cursor.execute(f"SELECT * FROM `{table}`")  # noqa: S608
            found[table] = (definition, cursor.fetchall())
        return found
