"""The database server: what the provisioner, and its administrator once, do there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pymysql

DATABASE_MAX, USER_MAX = 64, 32
"""Limits of MySQL (8.4 manual, "Identifier Length Limits", "CREATE USER")."""
SERVERS_OWN = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
CONNECT_SECONDS = 5
ANSWER_SECONDS = 15
"""How long a statement may take, and a server that has taken the connection may say nothing. The
server goes on with a statement whose client has gone, and the next attempt finds it done."""
LOCK_SECONDS = 5
"""How long dropping a database waits for a table that a connection still uses."""
UNKNOWN_VARIABLE = 1193

_NAME = re.compile(r"[a-z0-9_]+")
_PREFIX = re.compile(r"[a-z][a-z0-9_]*_")


class ServerError(Exception):
    """The server is away, or refuses; the message holds no secret."""


@dataclass(frozen=True)
class Address:
    """Where the server is.

    Attributes:
        ca: file with the authorities that its certificate is checked against, and its name with it;
            empty for no TLS.
    """

    host: str
    port: int
    ca: str = ""


@dataclass(frozen=True)
class Login:
    """A user of the server."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


class Server:
    """Creates and drops databases and users whose names begin with one prefix.

    Args:
        login: returns the provisioner's own user, which is never changed here; called for each
            connection, so that a new password needs no restart.
    """

    def __init__(self, address: Address, login: Callable[[], Login], prefix: str) -> None:
        self._address = address
        self._login = login
        self._prefix = checked_prefix(prefix)
        # A branch of this name has no databases beside it: those are the masked data.
        self._seeds = f"{prefix}seed"

    def provide(self, database: str, user: str, password: str) -> None:
        """Create a database, and its user; both may exist.

        The user gets all rights on the database and on those beside it, ``DATABASE__?``, which its
        tables are moved from and to, and may read the masked data that all branches share,
        ``PREFIXseed__*``. No branch's database has two underscores in a row in its name.

        Raises:
            ServerError: the server is away, or refuses.
            ValueError: a name is not the project's.
        """
        login = self._login()
        self._check(login, database, user)
        account = _account(user)
        with _connected(self._address, login) as run:
            run(
                f"CREATE DATABASE IF NOT EXISTS `{database}` "
                "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
            )
            run(f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY %s", password)
            # It may exist with the password of an environment that was there before.
            run(f"ALTER USER {account} IDENTIFIED BY %s", password)
            run(f"GRANT ALL PRIVILEGES ON `{_pattern(database)}`.* TO {account}")
            beside = _pattern(f"{database}__")
            if len(beside) < DATABASE_MAX and database != self._seeds:
                run(f"GRANT ALL PRIVILEGES ON `{beside}%%`.* TO {account}")
            run(f"GRANT SELECT ON `{_pattern(f'{self._seeds}__')}%%`.* TO {account}")

    def remove(self, database: str, user: str) -> None:
        """Drop a user, its database and those beside it; errors as for ``provide``."""
        login = self._login()
        self._check(login, database, user)
        with _connected(self._address, login) as run:
            # First the user: nobody comes in again while open connections come to their end.
            run(f"DROP USER IF EXISTS {_account(user)}")
            run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
            found = "SELECT schema_name FROM information_schema.schemata"
            found += " WHERE LEFT(schema_name, CHAR_LENGTH(%s)) = %s LIMIT 1"
            start = f"{database}__"
            while database != self._seeds and (name := run(found, start, start)):
                run(f"DROP DATABASE IF EXISTS `{name}`")
            run(f"DROP DATABASE IF EXISTS `{database}`")

    def _check(self, login: Login, database: str, user: str) -> None:
        for name, limit in ((database, DATABASE_MAX), (user, USER_MAX)):
            is_allowed = (
                _NAME.fullmatch(name)
                and len(name) <= limit
                and name.startswith(self._prefix)
                and name not in {self._prefix, login.user, *SERVERS_OWN}
                and not (name == database and "__" in name.removeprefix(self._prefix))
            )
            if not is_allowed:
                raise ValueError(f"{name[:DATABASE_MAX]!r} is no name of {self._prefix}")


def set_up(address: Address, administrator: Login, own: Login, prefix: str) -> None:
    """Create the provisioner's user as administrator, limited to a prefix as far as can be.

    Neither MySQL nor MariaDB can limit CREATE USER to a prefix.

    Raises:
        ServerError: the server is away, or refuses.
        ValueError: the prefix, or the user's name, is not allowed.
    """
    checked_prefix(prefix)
    if not (_NAME.fullmatch(own.user) and len(own.user) <= USER_MAX):
        raise ValueError(f"{own.user[:DATABASE_MAX]!r} is no name of a user")
    account = _account(own.user)
    needs_tls = "REQUIRE SSL" if address.ca else "REQUIRE NONE"
    with _connected(address, administrator) as run:
        if _is_literal(run):
            raise ServerError(
                "the server has partial_revokes on, so no right can be limited to a prefix"
            )
        run(f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY %s", own.password)
        run(f"ALTER USER {account} IDENTIFIED BY %s {needs_tls}", own.password)
        run(f"GRANT CREATE USER ON *.* TO {account}")
        pattern = f"{_pattern(prefix)}%%"
        run(f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO {account} WITH GRANT OPTION")


def checked_prefix(prefix: str) -> str:
    """Return the prefix, if it is one.

    Raises:
        ValueError: it is not.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"{prefix[:DATABASE_MAX]!r} is no prefix: a-z, 0-9 and _, with _ at its end"
        )
    return prefix


def _account(user: str) -> str:
    """Return a user, from any host, as it stands in statements; the client makes %% one %."""
    return f"'{user}'@'%%'"


def _pattern(name: str) -> str:
    r"""Return a name as GRANT takes it: a plain _ would stand for any character there."""
    return name.replace("_", r"\_")


def _is_literal(run: Any) -> bool:
    """Return True if GRANT takes names as they are: MySQL with partial_revokes."""
    try:
        return bool(run("SELECT @@GLOBAL.partial_revokes"))
    except ServerError as error:
        cause = error.__cause__
        if cause is not None and cause.args[:1] == (UNKNOWN_VARIABLE,):
            return False
        raise


@contextmanager
def _connected(address: Address, login: Login) -> Iterator[Any]:
    """Connect, and yield what runs a statement and returns its first value."""
    try:
        connection = pymysql.connect(
            host=address.host,
            port=address.port,
            user=login.user,
            password=login.password,
            charset="utf8mb4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            write_timeout=ANSWER_SECONDS,
            autocommit=True,
            local_infile=False,
            **_tls(address.ca),
        )
    except (pymysql.MySQLError, OSError, ValueError) as error:
        where = f"{address.host}:{address.port}, as {login.user}"
        raise ServerError(f"{where}: {_told(error)}") from error

    def run(statement: str, *values: str) -> Any:
        # The client quotes the values into the statement, so only the server's words are told.
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                row = cursor.fetchone() if cursor.description else None
                return row[0] if row else None
        except (pymysql.MySQLError, OSError) as error:
            raise ServerError(f"{statement.split(' ', 1)[0]}: {_told(error)}") from error

    with closing(connection):
        yield run


def _tls(ca: str) -> dict[str, Any]:
    if not ca:
        return {"ssl_disabled": True}
    return {"ssl_ca": ca, "ssl_verify_cert": True, "ssl_verify_identity": True}


def _told(error: Exception) -> str:
    """Return the server's words: number and message."""
    return " ".join(str(part) for part in error.args) or type(error).__name__
