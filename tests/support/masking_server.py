"""A database server with recorded schemas of Mautic, and the image whose programs work on them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pymysql

from tests.integration.standin_support import container, pair, until
from tests.support.controlplane import free_ports
from tests.support.images import standin
from tests.support.masking import SITE, VERSIONS, columns, fill

ROOT_PASSWORD = "of the root"
READER = "of the reader"
FIRST = 1_000
"""The first id of a row that ``enlarge`` makes: others have lower ones."""
SALT, OTHER_SALT, KEY = "s" * 40, "t" * 40, "0f" * 32
OWN_SITE = "https://feature-x.dev.shop.test"
ADMINISTRATOR = (
    "the administrator's own password, which is longer than bcrypt takes: 72 bytes, no more"
)


@dataclass
class Server:
    """A database server, and the image beside it.

    Attributes:
        client: a container of the mautic image.
        port: the server's, on loopback.
        shared: a folder that the container has as /shared.
        root: the administrator's connection, once there is one.
    """

    client: Any
    port: int
    shared: Path
    root: pymysql.Connection[Any] | None = None

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            password=ROOT_PASSWORD,
            database=database,
            charset="utf8mb4",
            autocommit=True,
        )

    def ask(self, question: str, database: str = "mysql") -> list[tuple[Any, ...]]:
        self.root = self.root or self.connect()
        self.root.select_db(database)
        with self.root.cursor() as cursor:
            cursor.execute(question)
            return list(cursor.fetchall())

    def source(self, version: str = VERSIONS[-1]) -> str:
        """Make a full database that the reader may only read; return its name."""
        name = f"source_{secrets.token_hex(4)}"
        with closing(self.connect()) as connection:
            fill(connection, name, version)
        self.ask(f"GRANT SELECT ON `{name}`.* TO reader")
        return name

    def mask(self, database: str, **environment: str) -> tuple[int, str, Path]:
        """Run the role; return exit status, output, and the folder of the seed."""
        folder = self.folder()
        given = {**self.environment(database, folder), **environment}
        done = self.client.exec_run(["mautic", "database", "mask"], environment=given)
        said = done.output.decode()
        assert SALT not in said
        assert KEY not in said
        return done.exit_code, said, folder

    def stream(self, database: str, line: str) -> tuple[int, str, Path]:
        """Run the role that writes to stdout; return exit status, stderr, and its folder."""
        folder = self.folder()
        script = 'mautic database seed <"$1" >"/shared/$2/seed.sql.gz.enc" 2>"/shared/$2/said"'
        done = self.client.exec_run(
            ["sh", "-c", script, "sh", self.file(line), folder.name],
            environment={
                name: value
                for name, value in self.environment(database, folder).items()
                if not name.startswith("MAUTIC_MASK_")
            },
        )
        said = (folder / "said").read_text()
        assert KEY not in said
        assert SALT not in said
        return done.exit_code, said, folder

    def folder(self) -> Path:
        """Make a folder that the container may write to."""
        folder = self.shared / secrets.token_hex(4)
        folder.mkdir()
        folder.chmod(0o777)
        return folder

    def environment(self, database: str, folder: Path) -> dict[str, str]:
        """Return the settings of a run."""
        return {
            "MAUTIC_DB_HOST": "127.0.0.1",
            "MAUTIC_DB_PORT": str(self.port),
            "MAUTIC_DB_DATABASE": database,
            "MAUTIC_DB_USER": "reader",
            "MAUTIC_DB_PASSWORD": READER,
            "MAUTIC_SITE_URL": SITE,
            "MAUTIC_MASK_FOLDER": f"/shared/{folder.name}",
            "MAUTIC_MASK_SALT_FILE": self.file(SALT),
            "MAUTIC_MASK_KEY_FILE": self.file(KEY),
        }

    def file(self, content: str) -> str:
        """Write a file; return its name in the container."""
        path = self.shared / f"{secrets.token_hex(4)}.txt"
        path.write_text(content)
        return f"/shared/{path.name}"

    def unseal(self, folder: Path, key: str = KEY) -> tuple[int, str, str]:
        """Decrypt a seed; return exit status, what was said, and the SQL."""
        script = 'mautic database unseal <"$1/seed.sql.gz.enc" >"$1/seed.sql"'
        done = self.client.exec_run(
            ["sh", "-c", script, "sh", f"/shared/{folder.name}"],
            environment={"MAUTIC_MASK_KEY_FILE": self.file(key)},
        )
        return done.exit_code, done.output.decode(), (folder / "seed.sql").read_text()

    def load(self, sql: str) -> str:
        """Load a seed's SQL into a database of its own, a statement a line; return its name."""
        name = f"seed_{secrets.token_hex(4)}"
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            cursor.execute(f"USE {name}")
            for line in sql.splitlines():
                cursor.execute(line)
        return name


@dataclass(frozen=True)
class Branch:
    """A branch's database, and its user, who may read seeds.

    Attributes:
        server: where it is.
        name: of both.
    """

    server: Server
    name: str

    def environment(self, seed: str, **more: str) -> dict[str, str]:
        """Return the settings of a run."""
        return {
            "MAUTIC_DB_HOST": "127.0.0.1",
            "MAUTIC_DB_PORT": str(self.server.port),
            "MAUTIC_DB_DATABASE": self.name,
            "MAUTIC_DB_USER": self.name,
            "MAUTIC_DB_PASSWORD": READER,
            "MAUTIC_SITE_URL": OWN_SITE,
            "MAUTIC_SECRET_KEY": KEY,
            "MAUTIC_ADMIN_USERNAME": "chief",
            "MAUTIC_ADMIN_EMAIL": "chief@shop.test",
            "MAUTIC_ADMIN_PASSWORD": ADMINISTRATOR,
            "MAUTIC_SEED": seed,
            **more,
        }

    def run(self, seed: str, *role: str, **more: str) -> tuple[int, str]:
        """Run a role, the clone without one; return exit status and output."""
        argv = ["mautic", *(role or ("database", "clone"))]
        done = self.server.client.exec_run(argv, environment=self.environment(seed, **more))
        return done.exit_code, done.output.decode()

    def start(self, seed: str) -> Path:
        """Start a clone; return the file that will have its exit status, beside what it said."""
        status = self.server.folder() / "status"
        script = 'cd "/shared/$1"; mautic database clone >said 2>&1; echo "$?" >status'
        self.server.client.exec_run(
            ["sh", "-c", script, "sh", status.parent.name],
            environment=self.environment(seed),
            detach=True,
        )
        return status

    def waits(self, for_what: str = "Waiting for table") -> bool:
        """Say whether one of its statements waits for a table."""
        question = (
            "SELECT COUNT(*) > 0 FROM information_schema.processlist"  # noqa: S608
            f" WHERE user = '{self.name}' AND state LIKE '{for_what}%'"
        )
        return self.server.ask(question) == [(1,)]

    def databases(self) -> list[str]:
        """Return its database and those beside it."""
        found = self.server.ask(f"SHOW DATABASES LIKE '{self.name}%'")
        return [row[0] for row in found]

    def users(self) -> list[str]:
        return [row[0] for row in self.server.ask("SELECT username FROM users", self.name)]

    def is_admitted(self) -> bool:
        """Say whether the administrator may log in, as Symfony checks it."""
        ((password,),) = self.server.ask(
            "SELECT password FROM users WHERE username = 'chief'", self.name
        )
        check = (
            "exit((int) !password_verify(base64_encode(hash('sha512', $argv[1], true)), $argv[2]));"
        )
        argv = ["php", "-r", check, "--", ADMINISTRATOR, password]
        return bool(self.server.client.exec_run(argv).exit_code == 0)


AS_RDS = ("--innodb-buffer-pool-size=2g", "--innodb-log-file-size=2g")
"""As RDS sets them for terraform/'s class of two processors, db.t4g.medium, about."""


@contextlib.contextmanager
def masking_server(
    engine: docker.DockerClient, shared: Path, *, in_memory: bool = True
) -> Iterator[Server]:
    """Start a server and the image's container; both are gone afterwards.

    Args:
        engine: the Docker Engine.
        shared: an empty folder, which the container gets.
        in_memory: whether the data lie in memory: faster, for what is small.
    """
    for folder in (shared, *shared.parents[:2]):
        folder.chmod(0o755)
    (port,) = free_ports(1)
    owner = "uid=999,gid=999"
    memory = {"/tmp": "", "/run/mysqld": owner, **({"/var/lib/mysql": owner} if in_memory else {})}
    with (
        container(
            engine,
            standin(engine, "database"),
            ["mariadbd", *([] if in_memory else AS_RDS)],
            environment={"MYSQL_ROOT_PASSWORD": ROOT_PASSWORD},
            ports={"3306/tcp": ("127.0.0.1", port)},
            tmpfs=memory,
        ),
        container(
            engine,
            pair(engine)[0],
            ["sleep", "3600"],
            network_mode="host",
            volumes={str(shared): {"bind": "/shared", "mode": "rw"}},
        ) as client,
    ):
        made = Server(client, port, shared)

        def answers() -> bool:
            try:
                return made.ask("SELECT 1") == [(1,)]
            except pymysql.MySQLError:
                return False

        until("database", answers)
        made.ask(f"CREATE USER reader IDENTIFIED BY '{READER}'")
        yield made


def begin_branch(server: Server) -> Branch:
    """Make a branch's database with somebody's work in it, and its user."""
    name = f"mt_{secrets.token_hex(4)}"
    pattern = name.replace("_", r"\_")
    for statement in (
        f"CREATE DATABASE {name}",
        f"CREATE TABLE {name}.users (id INT PRIMARY KEY, username VARCHAR(50))",
        f"INSERT INTO {name}.users VALUES (1, 'before')",  # noqa: S608
        f"CREATE USER {name} IDENTIFIED BY '{READER}'",
        f"GRANT ALL ON `{pattern}`.* TO {name}",
        f"GRANT ALL ON `{pattern}\\_\\_%`.* TO {name}",
        rf"GRANT SELECT ON `seed\_%`.* TO {name}",
    ):
        server.ask(statement)
    return Branch(server, name)


def enlarge(server: Server, database: str, copies: Mapping[str, int]) -> None:
    """Add rows, as copies of the first one of each table.

    Args:
        server: the server.
        database: one that ``fill`` has made.
        copies: how many, by table. What contacts did is theirs in turn.
    """
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SET foreign_key_checks = 0")
        for table, count in copies.items():
            names = [
                each.name
                for each in columns(cursor, database)
                if each.table == table and not each.generated
            ]
            made = [_value(table, name, copies["leads"]) for name in names]
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(f'`{name}`' for name in names)})"  # noqa: S608
                f" SELECT {', '.join(made)} FROM {table}, seq_0_to_{count - 1} WHERE id = 1"
            )


def _value(table: str, column: str, contacts: int) -> str:
    """Return the SQL of a new row's column; ``seq`` counts the rows."""
    contact = f"{FIRST} + seq % {contacts}"
    own = {
        "id": f"{FIRST} + seq",
        "lead_id": contact,
        "rotation": f"seq DIV {contacts}",
        "tracking_hash": "MD5(seq)",
        "tracking_id": "MD5(seq)",
        "email_address": f"CONCAT('p', {contact}, '@people.test')",
        "email": f"CONCAT('p', {FIRST} + seq, '@people.test')",
        "firstname": "CONCAT('First', seq)",
        "lastname": "CONCAT('Last', seq)",
    }
    return own.get(column, f"{table}.`{column}`")
