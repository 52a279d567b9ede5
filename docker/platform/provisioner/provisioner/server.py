"""The database server: what the provisioner, and its administrator once, do there."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator
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
LOADING_SECONDS = 900
"""The same while a seed is loaded: for a statement, and for another run that loads one."""
TRANSACTION_BYTES = 16 << 20
"""What is committed at once of a seed: a disk is waited for with each."""
UNKNOWN_VARIABLE = 1193
NEW = "__n"
"""What the name of a database ends with that a seed is being loaded into."""

_NAME = re.compile(r"[a-z0-9_]+")
_SEED = re.compile(r"[0-9]{8}t[0-9]{6}")
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
        self._reader = f"{prefix}_reader"

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

    def plant(
        self, seed: str, statements: Callable[[], Iterable[bytes]], say: Callable[[str], None]
    ) -> bool:
        """Load a seed into a database of its own, which all branches may read.

        It appears there whole, in one step; what a run that was killed has left counts for nothing.
        One is loaded at a time. What it is made of comes from whoever has the key, and is run by a
        user who reaches seeds alone.

        Args:
            seed: its id.
            statements: returns them; not called where the seed is there.
            say: called with what is waited for.

        Returns:
            False if it was there already.

        Raises:
            ServerError: the server is away, or refuses.
            ValueError: the id is none.
        """
        database = self._seed_database(seed)
        new = f"{database}{NEW}"
        login = self._login()
        loader = Login(f"{self._prefix}_seeds", secrets.token_urlsafe(24))
        account = _account(loader.user)
        with _connected(self._address, login, LOADING_SECONDS) as run:
            if run("SELECT GET_LOCK(%s, 0)", self._seeds) != 1:
                say("another run loads a seed; waiting for it")
                if run("SELECT GET_LOCK(%s, %s)", self._seeds, str(LOADING_SECONDS - 5)) != 1:
                    raise ServerError("another run has been loading a seed all the time")
            if _tables(run, database):
                return False
            run(f"DROP DATABASE IF EXISTS `{new}`")
            run(f"CREATE DATABASE `{new}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
            run(f"DROP USER IF EXISTS {account}")
            run(f"CREATE USER {account} IDENTIFIED BY %s", loader.password)
            try:
                run(f"GRANT ALL PRIVILEGES ON `{_pattern(f'{self._seeds}__')}%%`.* TO {account}")
                with _connected(self._address, loader, LOADING_SECONDS) as load:
                    load(f"USE `{new}`")
                    _load(load, statements())
            finally:
                run(f"DROP USER IF EXISTS {account}")
            run(f"CREATE DATABASE IF NOT EXISTS `{database}`")
            moves = (f"`{new}`.`{name}` TO `{database}`.`{name}`" for name in _tables(run, new))
            run("RENAME TABLE " + ", ".join(moves))
            run(f"DROP DATABASE `{new}`")
        return True

    def uproot(self, seed: str, is_over: Callable[[], bool]) -> bool:
        """Drop a seed, and what is left of a run that loaded it; errors as for ``plant``.

        Args:
            seed: its id.
            is_over: asked once no seed is being loaded; False if it stays.

        Returns:
            Whether it was dropped: not if a seed is being loaded.
        """
        database = self._seed_database(seed)
        with _connected(self._address, self._login()) as run:
            if run("SELECT GET_LOCK(%s, 0)", self._seeds) != 1 or not is_over():
                return False
            run(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
            for name in (f"{database}{NEW}", database):
                run(f"DROP DATABASE IF EXISTS `{name}`")
        return True

    @contextmanager
    def lend(self, database: str, say: Callable[[str], None]) -> Iterator[Login]:
        """Yield a user who may read a branch's database, and who is gone afterwards.

        There is one at a time. What a run that was killed has left goes with the next one, or with
        ``recall``. A connection that the user has open then stays.

        Args:
            database: the branch's.
            say: called with what is waited for.

        Raises:
            ServerError: the server is away, or refuses.
            ValueError: the name is not the project's.
        """
        login = self._login()
        reader = Login(self._reader, secrets.token_urlsafe(24))
        account = _account(reader.user)
        self._check(login, database, reader.user)
        with _connected(self._address, login, LOADING_SECONDS) as run:
            triggers = "SELECT trigger_name FROM information_schema.triggers"
            # Who may only read would not see it, and what no copy can hold is to be named by one.
            if name := run(f"{triggers} WHERE trigger_schema = %s LIMIT 1", database):
                raise ServerError(f"{database} has the trigger {name}, which no copy can hold")
            if run("SELECT GET_LOCK(%s, 0)", self._reader) != 1:
                say("another branch is being copied on this server; waiting for its end")
                if run("SELECT GET_LOCK(%s, %s)", self._reader, str(LOADING_SECONDS - 5)) != 1:
                    raise ServerError("another branch has been copied all the time")
            run(f"DROP USER IF EXISTS {account}")
            run(f"CREATE USER {account} IDENTIFIED BY %s", reader.password)
            try:
                run(f"GRANT SELECT ON `{_pattern(database)}`.* TO {account}")
                yield reader
            finally:
                run(f"DROP USER IF EXISTS {account}")

    def recall(self) -> None:
        """Drop the user that a killed ``lend`` has left; errors as for it."""
        with _connected(self._address, self._login()) as run:
            if run("SELECT GET_LOCK(%s, 0)", self._reader) == 1:
                run(f"DROP USER IF EXISTS {_account(self._reader)}")

    def _seed_database(self, seed: str) -> str:
        if not _SEED.fullmatch(seed):
            raise ValueError(f"{seed[:DATABASE_MAX]!r} is no seed's id")
        return f"{self._seeds}__{seed}"

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


def _tables(run: Any, database: str) -> list[str]:
    """Return the names of a database's tables; none where there is no such database."""
    found = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    found += " AND table_name > %s ORDER BY table_name LIMIT 1"
    names: list[str] = []
    while name := run(found, database, names[-1] if names else ""):
        names.append(name)
    return names


def _load(run: Any, statements: Iterable[bytes]) -> None:
    """Run a seed's statements in the database that a connection uses."""
    size = 0
    run("SET autocommit = 0")
    for statement in statements:
        run(statement)
        size += len(statement)
        if size > TRANSACTION_BYTES:
            run("COMMIT")
            size = 0
    run("COMMIT")


@contextmanager
def _connected(
    address: Address, login: Login, answer_seconds: int = ANSWER_SECONDS
) -> Iterator[Any]:
    """Connect, and yield what runs a statement and returns its first value."""
    try:
        connection = pymysql.connect(
            host=address.host,
            port=address.port,
            user=login.user,
            password=login.password,
            charset="utf8mb4",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=answer_seconds,
            write_timeout=answer_seconds,
            autocommit=True,
            local_infile=False,
            **_tls(address.ca),
        )
    except (pymysql.MySQLError, OSError, ValueError) as error:
        where = f"{address.host}:{address.port}, as {login.user}"
        raise ServerError(f"{where}: {_told(error)}") from error

    def run(statement: str | bytes, *values: str) -> Any:
        # The client quotes the values into the statement, so only the server's words are told.
        try:
            with connection.cursor() as cursor:
                # What comes in bytes is complete, and its percent signs are its own.
                cursor.execute(statement, values if isinstance(statement, str) else None)
                row = cursor.fetchone() if cursor.description else None
                return row[0] if row else None
        except (pymysql.MySQLError, OSError) as error:
            verb = (
                statement
                if isinstance(statement, str)
                else statement[:32].decode("ascii", "replace")
            )
            raise ServerError(f"{verb.split(' ', 1)[0]}: {_told(error)}") from error

    with closing(connection):
        yield run


def _tls(ca: str) -> dict[str, Any]:
    if not ca:
        return {"ssl_disabled": True}
    return {"ssl_ca": ca, "ssl_verify_cert": True, "ssl_verify_identity": True}


def _told(error: Exception) -> str:
    """Return the server's words: number and message."""
    return " ".join(str(part) for part in error.args) or type(error).__name__
