"""`mautic database|uploads give` and `take`: data from container to container."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.integration.copies_support import Branch, Server, content, database_server
from tests.integration.standin_support import until
from tests.support.controlplane import free_ports
from tests.support.masking import ROWS, VERSIONS

if TYPE_CHECKING:
    import docker

FAILED, USAGE, IN_VAIN, CUT_OFF, WRONG, STOPPED = 1, 64, 75, 76, 78, 143
BIG_ROWS = 40_000
MEDIA = "/var/www/html/docroot/media"


@pytest.fixture(scope="module")
def server(engine: docker.DockerClient) -> Iterator[Server]:
    with database_server(engine) as made:
        yield made


@pytest.fixture(scope="module")
def source(server: Server) -> Branch:
    """A database that takes a while to be sent."""
    made = server.branch(VERSIONS[-1])
    made.ask(
        "INSERT INTO audit_log (user_id, user_name, bundle, object, object_id, action, details,"  # noqa: S608
        " date_added, ip_address) SELECT 1, 'x', 'b', 'o', seq, 'a', TO_BASE64(RANDOM_BYTES(300)),"
        f" NOW(), '::1' FROM seq_1_to_{BIG_ROWS}"
    )
    return made


@pytest.fixture
def target(server: Server) -> Branch:
    """A branch whose data is replaced."""
    made = server.branch()
    made.ask("CREATE TABLE mine (v INT)", "INSERT INTO mine VALUES (7)")
    return made


def check_unchanged(target: Branch) -> None:
    assert target.ask("SELECT v FROM mine") == [(7,)]
    assert target.tables() == {"mine"}


@dataclass
class End:
    """A program at one end, whose standard input is held open."""

    running: subprocess.Popen[bytes]
    said: str = ""

    @property
    def stdin(self) -> IO[bytes]:
        assert self.running.stdin
        return self.running.stdin

    def tell(self, line: dict[str, Any]) -> None:
        self.stdin.write(json.dumps(line).encode() + b"\n")
        self.stdin.flush()

    def told(self) -> dict[str, Any]:
        """Return the next line that it writes."""
        assert self.running.stdout
        found: dict[str, Any] = json.loads(self.running.stdout.readline() or b"{}")
        return found

    def hear(self, words: str) -> None:
        """Wait until it says something."""
        assert self.running.stderr
        for line in self.running.stderr:
            self.said += line.decode()
            if words in self.said:
                return
        raise AssertionError(self.said)

    def ended(self) -> int:
        """Wait until it has ended by itself; return its exit status."""
        assert self.running.stderr
        self.said += self.running.stderr.read().decode()
        return self.running.wait()


@dataclass
class Way:
    """Two programs that hand data over.

    Attributes:
        role: the image's role, `database` or `uploads`.
        key: what both are told.
    """

    giver: Branch
    taker: Branch
    role: str = "database"
    seconds: int = 60
    key: str = field(default_factory=lambda: secrets.token_hex(32))
    port: int = field(default_factory=lambda: free_ports(1)[0])

    @contextlib.contextmanager
    def take(self) -> Iterator[End]:
        """Run what takes; it listens."""
        with _run(self.taker.argv("take", role=self.role, held=True)) as end:
            end.tell({"key": self.key, "port": self.port, "seconds": self.seconds})
            yield end

    @contextlib.contextmanager
    def give(self, addresses: list[str], **other: Any) -> Iterator[End]:
        """Run what gives."""
        line = {"key": self.key, "port": self.port, "seconds": self.seconds}
        with _run(self.giver.argv("give", role=self.role, held=True)) as end:
            end.tell({**line, "addresses": addresses, **other})
            yield end

    @contextlib.contextmanager
    def both(self) -> Iterator[tuple[End, End]]:
        """Run both, which have met."""
        with self.take() as taking, self.give(taking.told()["listening"]) as giving:
            assert taking.told()["connected"]
            yield taking, giving


@contextlib.contextmanager
def _run(argv: list[str]) -> Iterator[End]:
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as running:
        try:
            yield End(running)
        finally:
            with contextlib.suppress(BrokenPipeError):
                End(running).stdin.close()


def kill(branch: Branch, program: str, signum: int = signal.SIGKILL) -> None:
    argv = ["docker", "exec", "-u", "0", branch.client]
    subprocess.run([*argv, "pkill", f"-{signum}", "-f", f"php /opt/mautic/{program}"], check=True)


def test_a_database_comes_whole_and_in_the_place_of_what_was_there(
    source: Branch, target: Branch
) -> None:
    way = Way(source, target)
    with way.both() as (taking, giving):
        assert giving.ended() == 0, giving.said
        assert taking.ended() == 0, taking.said
    assert content(target) == content(source)
    assert target.beside() == set()
    assert json.loads(giving.said.rsplit("dump: whole ", 1)[1])["rows"]["leads"] == ROWS
    for end in (giving, taking):
        assert way.key not in end.said
        assert "PHP" not in end.said


def test_uploads_come_whole_beside_what_is_there(server: Server) -> None:
    branch = server.branch()

    def shell(script: str, user: str = "33") -> str:
        argv = ["docker", "exec", "--user", user, "--workdir", MEDIA, branch.client]
        done = subprocess.run([*argv, "sh", "-euc", script], check=True, capture_output=True)
        return done.stdout.decode()

    shell("mkdir -p files images dashboards; chown -R 33:33 .", "0")
    shell("head -c 3000000 /dev/urandom >files/large; mkdir 'files/a b'; echo p >'files/a b/ü'")
    staged = "cd files/.mautic-new; find . -type f -exec sha256sum {} + | sort"
    sums = shell("cd files; find . -type f -exec sha256sum {} + | sort")
    # Both programs are in this container: what is staged is none of what is there.
    with Way(branch, branch, "uploads").both() as (taking, giving):
        assert giving.ended() == 0, giving.said
        assert taking.ended() == 0, taking.said
    assert shell(staged) == sums
    assert json.loads(giving.said.rsplit("uploads: whole ", 1)[1])["bytes"] > 3_000_000

    # One that gives up half way leaves nothing, also if the other one does not read.
    shell("rm -r files/.mautic-new; truncate -s 2G files/large")
    has_read = "grep rchar /proc/$(pgrep -f '[p]hp /opt/mautic/uploads.php give')/io; sleep 1"
    with Way(branch, branch, "uploads").both() as (taking, giving):
        kill(branch, "uploads.php take", signal.SIGSTOP)
        until("end of its reading", lambda: shell(has_read) == shell(has_read))
        giving.stdin.close()
        assert giving.ended() == STOPPED, giving.said
        kill(branch, "uploads.php take", signal.SIGCONT)
        assert taking.ended() == CUT_OFF, taking.said
    assert "nothing was changed" in taking.said
    assert ".mautic-new" not in shell("ls -A files images dashboards")
    shell("rm -r files/* files/.[!.]* || true")


@pytest.mark.parametrize(
    ("end", "how", "statuses"),
    [
        ("giver", "killed", (137, CUT_OFF)),
        ("giver", "let go", (STOPPED, CUT_OFF)),
        ("taker", "killed", (CUT_OFF, 137)),
        ("taker", "let go", (CUT_OFF, STOPPED)),
        ("taker", "asked to end", (CUT_OFF, STOPPED)),
    ],
)
def test_where_one_end_goes_half_way_the_other_ends_and_nothing_is_changed(
    source: Branch, target: Branch, end: str, how: str, statuses: tuple[int, int]
) -> None:
    with Way(source, target).both() as (taking, giving):
        if how == "let go":
            (giving if end == "giver" else taking).stdin.close()
        else:
            signum = signal.SIGKILL if how == "killed" else signal.SIGTERM
            kill(source, "dump.php" if end == "giver" else "load.php", signum)
        assert (giving.ended(), taking.ended()) == statuses, giving.said + taking.said
    check_unchanged(target)
    if end == "giver":
        assert "what the other container sends has ended early; nothing was changed" in taking.said
    else:
        assert "the other container reads no more" in giving.said
    with Way(source, target).both() as (taking, giving):
        assert taking.ended() == 0, taking.said
    assert target.ask("SELECT COUNT(*) FROM audit_log") == [(BIG_ROWS + ROWS,)]
    assert target.beside() == set()


def test_one_without_the_key_is_sent_away_and_the_right_one_comes_after_it(
    source: Branch, target: Branch
) -> None:
    way = Way(source, target)
    with way.take() as taking:
        addresses = taking.told()["listening"]
        assert addresses
        assert not [each for each in addresses if each.startswith("127.")]
        with way.give(addresses, key="ab" * 32) as wrong:
            taking.hear("does not know the key, and was sent away")
            assert wrong.ended() == CUT_OFF, wrong.said
        for sent in (b"", b"GET / HTTP/1.0\r\n\r\n" * 9, b"\xff" * 99):
            taking.said = ""
            with socket.create_connection(("127.0.0.1", way.port)) as stranger:
                stranger.sendall(sent)
                stranger.shutdown(socket.SHUT_WR)
                taking.hear("was sent away")
        with (
            socket.create_connection(("127.0.0.1", way.port)) as silent,
            way.give(addresses) as giving,
        ):
            assert taking.told()["connected"]
            assert giving.ended() == 0, giving.said
            assert taking.ended() == 0, taking.said
            assert silent.recv(1) == b""
    assert content(target) == content(source)


def test_nobody_comes_or_is_there(source: Branch, target: Branch) -> None:
    with Way(source, target, seconds=1).take() as taking:
        assert taking.told()["listening"]
        assert taking.ended() == IN_VAIN
    assert "the other container has not come in 1 s; nothing was changed" in taking.said
    check_unchanged(target)

    # By the address that leads nowhere it is not kept from the other one.
    for addresses in (["127.0.0.1"], ["192.0.2.1", "127.0.0.1"], []):
        with Way(source, target, seconds=1).give(addresses) as giving:
            assert giving.ended() == IN_VAIN
        assert f"cannot be reached at {', '.join(addresses)}, port" in giving.said

    with Way(source, target).take() as taking:
        assert taking.told()["listening"]
        taking.stdin.close()
        assert taking.ended() == STOPPED
    check_unchanged(target)


def test_what_is_told_wrong_is_refused(source: Branch, target: Branch) -> None:
    right = {"key": "ab" * 32, "port": 1, "seconds": 1, "addresses": []}
    wrong: list[Any] = [{}, [], {**right, "key": "ab"}, {**right, "port": "1"}]
    wrong += [{**right, "seconds": None}, {**right, "addresses": [1]}, {**right, "addresses": "x"}]
    for line in wrong:
        for branch, verb in ((target, "take"), (source, "give")):
            status, out, said = branch.run(verb, json.dumps(line).encode() + b"\n")
            assert (status, out) == (WRONG, b""), said
            assert "stdin must be a line of JSON: key, port, seconds, addresses" in said
    check_unchanged(target)


def test_what_no_dump_can_hold_is_said_before_anything_is_sent(
    server: Server, target: Branch
) -> None:
    other = server.branch()
    other.ask("CREATE TABLE t (v INT)", "CREATE VIEW seen AS SELECT v FROM t")
    way = Way(other, target)
    with way.take() as taking, way.give(taking.told()["listening"]) as giving:
        assert giving.ended() == 65
        taking.stdin.close()
        assert taking.ended() == STOPPED
    check_unchanged(target)
