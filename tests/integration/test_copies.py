"""`mautic database dump|load|reset`: on a real server, with the recorded schemas of Mautic."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.copies_support import PASSWORD, Branch, Server, content, database_server
from tests.integration.standin_support import until
from tests.support.masking import ROWS, VERSIONS

if TYPE_CHECKING:
    import docker

FAILED, IN_VAIN, REFUSED, UNSUPPORTED, WRONG, STOPPED = 1, 75, 77, 65, 78, 143
BIG_ROWS = 15_000
KILLS = 5


@pytest.fixture(scope="module")
def server(engine: docker.DockerClient) -> Iterator[Server]:
    with database_server(engine) as made:
        yield made


@pytest.fixture(scope="module")
def source(server: Server) -> Branch:
    """A full database, that tests only read."""
    made = server.branch(VERSIONS[-1])
    made.ask(
        r"INSERT INTO leads (is_published, points, date_added, lastname, internal) VALUES"
        r" (1, 0, NOW(), 'new\nline \\ \' \0 \Z end \r`', NULL)",
        "CREATE TABLE odd (`a``b` VARBINARY(9), f DOUBLE, d DECIMAL(20,10), t TIMESTAMP(6) NULL,"
        " e ENUM('x', 'it''s'), b BIT(12)) COMMENT 'two\\nlines'",
        "INSERT INTO odd VALUES (x'00ff0a27', 0.1e-7, 1234567890.0123456789,"
        " '2024-05-17 10:11:12.654321', 'it''s', b'101010101010'),"
        " (NULL, NULL, NULL, NULL, 'x', 0)",
        "ALTER TABLE odd ADD id INT AUTO_INCREMENT PRIMARY KEY, AUTO_INCREMENT = 77",
    )
    return made


@pytest.fixture(scope="module")
def dump(source: Branch) -> bytes:
    return source.ok("dump")


def test_a_dump_is_the_same_in_another_database(
    server: Server, source: Branch, dump: bytes
) -> None:
    status, again, said = source.run("dump")
    assert status == 0
    assert again == dump
    told = json.loads(said.rsplit("dump: whole ", 1)[1])
    assert told["bytes"] == len(dump)
    assert told["sha256"] == hashlib.sha256(dump).hexdigest()
    assert told["rows"]["leads"] == ROWS + 1
    assert len(told["migrations"]) == ROWS
    assert told["mautic"]

    other = server.branch()
    other.ok("load", dump)
    assert content(other) == content(source)
    assert other.beside() == set()
    # Over what is there: nothing of it is left, and foreign keys are the branch's own.
    other.ask("CREATE TABLE stranger (id INT PRIMARY KEY)", "DELETE FROM audit_log")
    other.ok("load", dump)
    assert content(other) == content(source)
    keys = (
        "SELECT COUNT(*), SUM(unique_constraint_schema = DATABASE()) FROM"
        " information_schema.referential_constraints WHERE constraint_schema = DATABASE()"
    )
    assert other.ask(keys) == source.ask(keys)
    assert other.ok("dump") == dump


def test_a_dump_is_one_moment_and_holds_nobody_up(source: Branch) -> None:
    """Rows that come after it has begun are not in it, and a table's definition may change."""
    with subprocess.Popen(
        source.argv("dump"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout
        assert running.stdout.read(10)
        source.ask("SET lock_wait_timeout = 5", "ALTER TABLE odd COMMENT 'another'")
        running.stdout.read()
        assert running.wait() == 0
    source.ask("ALTER TABLE odd COMMENT 'two\\nlines'")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda whole: whole[: len(whole) // 2], "cut off"),
        (lambda whole: whole[:-8], "cut off"),
        (lambda _: b"", "cut off"),
        (lambda _: b"SET x = 1;\n" * 999, "no dump"),
        (lambda whole: whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:], ""),
        (lambda whole: packed([b"DROP DATABASE mysql;\n", *lines(whole)]), "none of a dump"),
        (lambda whole: packed(lines(whole)[:-1]), "not whole"),
        (lambda whole: packed(lines(whole)[:-2] + lines(whole)[-1:]), "not whole"),
        (lambda whole: packed([*lines(whole), b"SET NAMES utf8mb4;\n"]), "after its end"),
        (lambda whole: packed([b"INSERT INTO `users` (x) VALUES (1);\n", *lines(whole)]), ""),
    ],
)
def test_a_damaged_dump_changes_nothing(
    server: Server, dump: bytes, change: Any, named: str
) -> None:
    branch = server.branch()
    branch.ask("CREATE TABLE mine (v INT)", "INSERT INTO mine VALUES (7)")
    status, _, said = branch.run("load", change(dump))
    assert status == FAILED, said
    assert named in said
    assert "PHP" not in said
    assert branch.ask("SELECT v FROM mine") == [(7,)]
    assert branch.tables() == {"mine"}
    assert branch.beside() == set()


def lines(whole: bytes) -> list[bytes]:
    return gzip.decompress(whole).splitlines(keepends=True)


def packed(text: Sequence[bytes]) -> bytes:
    return gzip.compress(b"".join(text))


def reader_of(source: Branch) -> bytes:
    """Return what `copy` reads, with a user who may read the source alone."""
    pattern = source.name.replace("_", r"\_")
    source.ask(
        f"CREATE OR REPLACE USER {source.name}_r IDENTIFIED BY '{PASSWORD}'",
        f"GRANT SELECT ON `{pattern}`.* TO {source.name}_r",
    )
    given = {"database": source.name, "user": f"{source.name}_r", "password": PASSWORD}
    return json.dumps(given).encode() + b"\n"


def test_a_copy_inside_the_server_is_what_a_dump_would_bring(
    server: Server, source: Branch, dump: bytes
) -> None:
    other = server.branch()
    other.ask("CREATE TABLE stranger (id INT PRIMARY KEY)")
    line = reader_of(source)
    other.ok("copy", line)
    assert content(other) == content(source)
    assert other.beside() == set()
    assert other.ok("dump") == dump

    other.ask("DROP TABLE odd")
    before = content(other)
    wrong = line.replace(PASSWORD.encode(), b"another")
    for sent, expected, named in (
        (wrong, REFUSED, "Access denied"),
        (line.replace(source.name.encode(), server.branch().name.encode(), 1), REFUSED, "denied"),
        (b"{}\n", WRONG, "stdin must be a line of JSON"),
        (b"", WRONG, "stdin must be a line of JSON"),
    ):
        status, _, said = other.run("copy", sent)
        assert (status, named in said) == (expected, True), said
        assert "another" not in said
        assert content(other) == before
        assert other.beside() == set()


def test_a_reset_leaves_nothing(server: Server, dump: bytes) -> None:
    branch = server.branch()
    branch.ok("reset")
    branch.ok("load", dump)
    assert json.loads(branch.ok("content"))["leads"] == ROWS + 1
    branch.ok("reset")
    assert branch.tables() == branch.beside() == set()
    assert json.loads(branch.ok("content")) == {}
    branch.ok("load", dump)
    assert branch.tables()


def test_what_is_in_the_way_is_named_and_nothing_is_changed(server: Server, dump: bytes) -> None:
    branch = server.branch()
    branch.ask("CREATE TABLE mine (v INT)", "INSERT INTO mine VALUES (7)")
    with closing(branch.connect(branch.name)) as busy, busy.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{branch.name}`.mine READ")
        for verb, sent in (("load", dump), ("reset", b"")):
            status, _, said = branch.run(verb, sent)
            assert status == IN_VAIN
            assert "failed [database-in-use]: tables of" in said
        cursor.execute("UNLOCK TABLES")
    assert branch.tables() == {"mine"}

    branch.ask("CREATE VIEW seen AS SELECT v FROM mine")
    for verb, sent, expected in (("load", dump, FAILED), ("reset", b"", FAILED)):
        status, _, said = branch.run(verb, sent)
        assert (status, "view seen" in said) == (expected, True)
    status, out, said = branch.run("dump")
    assert (status, out, "view seen" in said) == (UNSUPPORTED, b"", True)
    branch.ask("DROP VIEW seen")

    pattern = branch.name.replace("_", r"\_") + r"\_\_%"
    branch.ask(f"REVOKE ALL ON `{pattern}`.* FROM {branch.name}")
    status, _, said = branch.run("load", dump)
    assert status == REFUSED
    assert "Deploy the branch again" in said
    assert branch.ask("SELECT v FROM mine") == [(7,)]


@pytest.fixture(scope="module")
def big(server: Server) -> tuple[Branch, bytes]:
    """A database that takes a while, and its dump."""
    branch = server.branch(VERSIONS[-1])
    branch.ask(
        "INSERT INTO audit_log (user_id, user_name, bundle, object, object_id, action, details,"
        " date_added, ip_address) SELECT 1, 'x', 'b', 'o', seq, 'a', REPEAT(MD5(seq), 9), NOW(),"
        " '::1' FROM seq_1_to_15000"
    )
    return branch, branch.ok("dump")


def test_a_copy_inside_the_server_is_one_moment_and_holds_nobody_up(
    server: Server, big: tuple[Branch, bytes]
) -> None:
    source, _ = big
    other = server.branch()
    argv = other.argv("copy", held=True)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin
        running.stdin.write(reader_of(source))
        running.stdin.flush()
        beside = (
            "SELECT table_name FROM information_schema.tables"  # noqa: S608
            f" WHERE table_schema = '{other.name}__n'"
        )
        until("the first table", lambda: other.ask(beside))
        source.ask("SET lock_wait_timeout = 5", "DELETE FROM webhook_logs")
        assert running.wait() == 0
    assert other.ask("SELECT COUNT(*) FROM webhook_logs") == [(ROWS,)]
    assert other.ask("SELECT COUNT(*) FROM audit_log") == [(BIG_ROWS + ROWS,)]


@pytest.mark.parametrize("verb", ["load", "copy", "reset"])
def test_killed_anywhere_it_is_the_old_or_the_new_and_the_same_again_finishes(
    server: Server, big: tuple[Branch, bytes], dump: bytes, verb: str
) -> None:
    source, whole = big
    sent = reader_of(source) if verb == "copy" else whole
    branch = server.branch()
    branch.ok("load", dump)
    old = branch.tables()
    started = time.monotonic()
    branch.ok(verb, sent)
    seconds = time.monotonic() - started
    new = branch.tables()
    seen = set()
    for turn in range(KILLS):
        branch.ok("load", dump)
        with subprocess.Popen(
            branch.argv(verb), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as running:
            assert running.stdin
            if turn % 2:
                time.sleep(seconds * turn / KILLS)
            try:
                # Sent in two parts, so that it is surely cut in the middle of the others.
                running.stdin.write(sent[: len(sent) * turn // KILLS])
                running.stdin.flush()
                if turn % 2:
                    running.stdin.write(sent[len(sent) * turn // KILLS :])
                    running.stdin.flush()
            except BrokenPipeError:
                pass
            time.sleep(0.1 * (turn % 3))
            killed = [
                "docker",
                "exec",
                "-u",
                "0",
                branch.client,
                "pkill",
                "-KILL",
                "-f",
                "load.php",
            ]
            subprocess.run(killed, check=False)
        # A statement that the server has begun goes on after its client was killed.
        until(f"the old or the new after kill {turn}", lambda: branch.tables() in (old, new))
        seen.add(branch.tables() == old)
        if verb != "reset":
            count = branch.ask("SELECT COUNT(*) FROM audit_log")
            assert count in ([(ROWS,)], [(BIG_ROWS + ROWS,)]), turn
        branch.ok(verb, sent)
        assert branch.tables() == new
        assert branch.beside() == set()
    assert verb == "reset" or True in seen


def test_two_at_once_both_end_with_one_of_the_two(
    server: Server, big: tuple[Branch, bytes], dump: bytes
) -> None:
    _, other = big
    branch = server.branch()
    with subprocess.Popen(branch.argv("load"), stdin=subprocess.PIPE) as first:
        assert first.stdin
        first.stdin.write(other[:-100])
        first.stdin.flush()
        with subprocess.Popen(branch.argv("load"), stdin=subprocess.PIPE) as second:
            assert second.stdin
            first.stdin.write(other[-100:])
            first.stdin.close()
            second.stdin.write(dump)
            second.stdin.close()
            assert first.wait() == 0
            assert second.wait() == 0
    assert branch.ask("SELECT COUNT(*) FROM audit_log")[0][0] in (ROWS, BIG_ROWS + ROWS)
    assert branch.beside() == set()


MEDIA = "/var/www/html/docroot/media"


def test_uploads_come_back_as_they_were_or_stay(server: Server) -> None:
    branch = server.branch()

    def shell(script: str, user: str = "33") -> str:
        argv = ["docker", "exec", "--user", user, "--workdir", MEDIA, branch.client]
        argv += ["sh", "-euc", script]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout

    def uploads(*words: str, sent: bytes = b"") -> tuple[int, bytes, str]:
        argv = branch.argv(*words, role="uploads")
        done = subprocess.run(argv, input=sent, capture_output=True, check=False)
        return done.returncode, done.stdout, done.stderr.decode()

    def seen() -> str:
        return shell("find . -path ./css -prune -o -printf '%P %l\n' -type f -exec cat {} + | sort")

    shell("mkdir -p files images dashboards; chown -R 33:33 .", "0")
    shell("echo p >images/p; mkdir -p 'files/a b/ü'; cd 'files/a b/ü'; echo one >x; ln -s x l")
    before = seen()
    status, tar, said = uploads("dump")
    assert status == 0
    told = json.loads(said.rsplit("uploads: whole ", 1)[1])
    assert told == {"bytes": len(tar), "sha256": hashlib.sha256(tar).hexdigest()}
    digest = told["sha256"]

    shell("rm -r 'files/a b'; echo other >images/p; echo new >dashboards/new")
    other = seen()
    damaged = tar[:600] + b"!" + tar[601:]
    none = b"no tar" * 999
    for sent in (
        staged(tar, digest)[:700],
        staged(tar, digest)[:-70],
        staged(damaged, digest),
        staged(tar, "0" * 64),
        staged(none, hashlib.sha256(none).hexdigest()),
        b"{}\nnothing",
        b"",
    ):
        status, _, said = uploads("stage", sent=sent)
        assert status in {FAILED, WRONG}, said
        assert "PHP" not in said
        assert seen() == other
    assert uploads("place")[0] == FAILED
    # More may follow on the same stream: it is not waited for.
    status, _, said = uploads("stage", sent=staged(tar, digest) + b"more")
    assert status == 0, said
    assert uploads("dump")[1] != tar
    assert uploads("place")[0] == 0
    assert seen() == before
    for words in ((), ("load",), ("stage", "x"), ("drop",), ("empty", "now")):
        assert uploads(*words)[0] == 64
    shell("mkdir files/.mautic-old; echo left by a killed run >files/.mautic-old/x")
    assert uploads("empty")[0] == uploads("place")[0] == 0
    assert shell("find files images dashboards -mindepth 1") == ""


def staged(tar: bytes, digest: str) -> bytes:
    """Return a tar as it is sent, in two parts."""
    parts = (tar[:9000], tar[9000:])
    sent = [b"%d\n%b" % (len(part), part) for part in parts if part]
    return b"".join([b"{}\n", *sent, f"0\n{digest}\n".encode()])


# -- in one step, and let go ----------------------------------------------------------------------

INSTALLED = {"users", "migrations", "plugins"}
"""Tables of any installation."""


def test_a_reset_installs_beside_and_takes_uploads_along(server: Server, dump: bytes) -> None:
    branch = server.branch()
    branch.ok("load", dump)
    subprocess.run(branch.argv("empty", role="uploads"), check=True)
    branch.ok("reset", b"", "migrate", "uploads")
    assert branch.tables() >= INSTALLED
    assert branch.ask("SELECT username FROM users") == [("chief",)]
    assert branch.beside() == set()
    # Without the uploads that it is to take along nothing changes.
    before = content(branch)
    status, _, said = branch.run("reset", b"", "migrate", "uploads")
    assert (status, "no uploads are staged" in said) == (FAILED, True)
    assert content(branch) == before
    assert branch.run("reset", b"", "more")[0] == 64


@pytest.mark.parametrize("moment", ["at once", "while it installs"])
def test_whoever_is_let_go_changes_nothing(server: Server, dump: bytes, moment: str) -> None:
    branch = server.branch()
    branch.ok("load", dump)
    before = content(branch)
    argv = branch.argv("reset", "migrate", held=True)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin
        assert running.stderr
        if moment == "while it installs":
            until("installer", lambda: b"mautic:install" in running.stderr.readline())
        running.stdin.close()
        said = running.stderr.read().decode()
        assert running.wait() == STOPPED, said
    assert content(branch) == before
    assert branch.beside() == set()
    # Held open to its end it does what it does without.
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as running:
        assert running.wait() == 0
    assert branch.ask("SELECT username FROM users") == [("chief",)]


def test_what_is_staged_outlives_whoever_was_killed_before_and_ends_now(
    server: Server, dump: bytes
) -> None:
    branch = server.branch()
    branch.ok("load", dump)
    empty = branch.argv("empty", role="uploads")
    subprocess.run(empty, check=True)
    waits = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
    with closing(branch.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{branch.name}`.users WRITE")
        with subprocess.Popen(branch.argv("reset", "uploads"), stdin=subprocess.DEVNULL) as former:
            until("swap", lambda: bool(branch.ask(waits)))
            with subprocess.Popen(empty, stdin=subprocess.DEVNULL) as staging:
                assert former.wait() == IN_VAIN
                assert staging.wait() == 0
        cursor.execute("UNLOCK TABLES")
    branch.ok("reset", b"", "uploads")
    assert branch.tables() == set()
