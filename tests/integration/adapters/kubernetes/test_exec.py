"""Programs in a pod that are held by their input: let go, interrupted, killed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import websocket

from tasks.adapters.kubernetes import exec as of_exec
from tasks.adapters.kubernetes.exec import HELD, Exec
from tasks.adapters.kubernetes.transport import Transport
from tasks.adapters.process import Interrupted
from tests.support import nodeexec

MORE = b"x" * (1 << 20)
"""More than a pipe holds."""


class Node(BaseHTTPRequestHandler):
    """Serves exec without an API server before it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        words = parse_qs(urlsplit(self.path).query)["command"]
        nodeexec.serve(self, words, os.environ, tty=False)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Direct:
    """Speaks to the node directly."""

    def __init__(self, port: int) -> None:
        self.address = f"ws://127.0.0.1:{port}"

    def websocket(self, path: str, query: list[tuple[str, str]]) -> websocket.WebSocket:
        return websocket.create_connection(
            f"{self.address}{path}?{urlencode(query)}",
            subprotocols=[nodeexec.PROTOCOL],
            skip_utf8_validation=True,
        )


@pytest.fixture(scope="module")
def direct() -> Iterator[Direct]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Node) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Direct(server.server_port)
        server.shutdown()


Pipe = Callable[..., int]


@pytest.fixture
def pipe(direct: Direct) -> Pipe:
    """Run a script of the shell that is held."""

    def run(script: str, **given: Any) -> int:
        argv = (*HELD, "sh", "-c", script)
        more = {"source": (), "take": lambda _: None, "on_line": lambda _: None, **given}
        return Exec(cast("Transport", direct), "/exec", "fpm", argv).pipe(**more)

    return run


def test_its_input_is_held_until_it_has_ended_and_bytes_pass_as_they_are(pipe: Pipe) -> None:
    came, said = bytearray(), list[str]()
    script = f"head -c {len(MORE)}; sleep 1; echo told >&2; exit 5"
    parts = iter([MORE[:70_000], MORE[70_000:]])
    assert pipe(script, source=parts, take=came.extend, on_line=said.append) == 5
    assert (bytes(came), said) == (MORE, ["told"])


def test_one_that_leaves_some_of_its_input_ends(pipe: Pipe) -> None:
    endless = iter(lambda: MORE, b"")
    assert pipe("read -r line; exit 3", source=iter([b"line\n", MORE])) == 3
    assert pipe("read -r line; exit 3", source=(part + b"\n" for part in endless)) == 3


def test_one_writes_as_it_reads_whoever_takes_it_slowly(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_exec, "PIPE_SILENT_SECONDS", 60.0)
    came = 0

    def take(part: bytes) -> None:
        nonlocal came
        if not came:
            time.sleep(2)  # until all that lies between is full, both ways
        came += len(part)

    size = 48 * len(MORE)
    assert pipe(f"head -c {size}", source=itertools.repeat(MORE, 48), take=take) == 0
    assert came == size


def test_one_whose_source_fails_is_let_go(pipe: Pipe, tmp_path: Path) -> None:
    def source() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("no more")

    script = f"cat >/dev/null; echo ended >{tmp_path}/said"
    with pytest.raises(ValueError, match="no more"):
        pipe(script, source=source())
    assert (tmp_path / "said").read_text() == "ended\n"


def interrupt(line: str) -> None:
    """Stand for a signal that arrives when something is said."""
    if line == "begun":
        raise Interrupted(15)


@pytest.mark.parametrize(("status", "told"), [(143, 143), (0, 0)])
def test_an_interrupt_waits_for_its_end_and_tells_how_that_was(
    pipe: Pipe, status: int, told: int
) -> None:
    script = f"echo begun >&2; cat >/dev/null; sleep 1; exit {status}"
    with pytest.raises(Interrupted) as caught:
        pipe(script, on_line=interrupt)
    assert (caught.value.status, caught.value.signum) == (told, 15)


def test_an_interrupt_does_not_wait_for_ever(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_exec, "LET_GO_SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        pipe("echo begun >&2; exec sleep 30", on_line=interrupt)
    assert caught.value.status is None
    assert time.monotonic() - started < 10


HOLDER = """
    import sys
    from tasks.adapters.kubernetes.exec import HELD, Exec
    from tests.integration.adapters.kubernetes.test_exec import Direct

    Exec(Direct(int(sys.argv[1])), "/exec", "fpm", (*HELD, "sh", "-c", sys.argv[2])).pipe(
        source=(), take=print, on_line=lambda line: print(line, flush=True)
    )
"""


def test_it_notices_that_whoever_holds_it_was_killed(direct: Direct, tmp_path: Path) -> None:
    said = tmp_path / "said"
    script = f"echo begun >&2; cat >/dev/null; echo ended >{said}"
    argv = [sys.executable, "-c", textwrap.dedent(HOLDER), direct.address.rpartition(":")[2]]
    with subprocess.Popen([*argv, script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "begun\n"
        holder.kill()
    end = time.monotonic() + 20
    while not said.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
