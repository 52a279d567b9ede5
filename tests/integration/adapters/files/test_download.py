"""Downloads from servers that behave, and from those that do not."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.adapters.files.download import fetch, place
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.platform import UpstreamFile

CONTENT = b"kind: CustomResourceDefinition\n" * 1000
SUM = hashlib.sha256(CONTENT).hexdigest()
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A server whose answer is the test's choice.

    Attributes:
        asked: the number of requests.
        sent: the bytes of bodies that went out.
        ended: set when an answer is over, and when the test is.
    """

    def __init__(self) -> None:
        self.answer: Answer = send(CONTENT)
        self.asked = 0
        self.sent = 0
        self.ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                try:
                    outer.answer(self)
                except OSError:  # the client has hung up
                    self.close_connection = True
                finally:
                    outer.ended.set()

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1/crds.yaml"

    def write(self, handler: BaseHTTPRequestHandler, content: bytes) -> None:
        handler.wfile.write(content)
        self.sent += len(content)


def send(content: bytes, length: int | None = None) -> Answer:
    """Send a whole answer, with a true or a false length."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, daemon=True)
    thread.start()
    yield made
    made.ended.set()
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path)}


def wanted(server: Server) -> UpstreamFile:
    return UpstreamFile("v1", server.url, SUM)


def left_behind(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_fetched_once(server: Server, environ: dict[str, str]) -> None:
    first = fetch(wanted(server), environ=environ)
    assert first.read_bytes() == CONTENT
    assert fetch(wanted(server), environ=environ) == first
    assert server.asked == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(
    server: Server, environ: dict[str, str]
) -> None:
    kept = place(wanted(server), environ)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(CONTENT[:-1])
    assert fetch(wanted(server), environ=environ).read_bytes() == CONTENT


def test_another_content_is_refused(
    server: Server, environ: dict[str, str], tmp_path: Path
) -> None:
    server.answer = send(CONTENT.replace(b"kind", b"Kind"))
    with pytest.raises(SuiteError, match="is not the file that it was"):
        fetch(wanted(server), environ=environ)
    assert not left_behind(tmp_path)


def test_a_server_that_sends_more_is_not_listened_to(
    server: Server, environ: dict[str, str], tmp_path: Path
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.ended.is_set():
            server.write(handler, b"#" * 65536)

    server.answer = answer
    limit = 200_000
    with pytest.raises(SuiteError, match=f"is larger than {limit} bytes"):
        fetch(wanted(server), environ=environ, limit_bytes=limit, deadline_seconds=60)
    assert server.ended.wait(30), "the server is still sending"
    # The rest lay in the buffers of both sockets.
    assert server.sent < 50_000_000
    assert not left_behind(tmp_path)


def test_a_body_that_is_unpacked_on_arrival_is_not_asked_for(
    server: Server, environ: dict[str, str]
) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Accept-Encoding"])
        send(CONTENT)(handler)

    server.answer = answer
    fetch(wanted(server), environ=environ)
    assert asked == ["identity"]


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_trickles_is_left(
    server: Server, environ: dict[str, str], tmp_path: Path, part: str
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if part == "headers":
            handler.wfile.write(b"X-Pad: ")
        else:
            handler.wfile.write(b"Content-Length: 1000000\r\n\r\n")
        while not server.ended.wait(0.05):
            server.write(handler, b"#")

    server.answer = answer
    with pytest.raises(SuiteError, match=r"took longer than 0\.5 s"):
        fetch(wanted(server), environ=environ, deadline_seconds=0.5)
    assert not left_behind(tmp_path)


def test_an_answer_that_is_cut_off_is_refused(
    server: Server, environ: dict[str, str], tmp_path: Path
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(CONTENT[:100], length=len(CONTENT))(handler)
        handler.close_connection = True

    server.answer = answer
    with pytest.raises(SuiteError, match=r"cannot be fetched|is not the file that it was"):
        fetch(wanted(server), environ=environ)
    assert not left_behind(tmp_path)


def test_no_server_is_told_with_the_way_out(
    server: Server, environ: dict[str, str], tmp_path: Path
) -> None:
    file = wanted(server)
    server.http.server_close()
    with pytest.raises(SuiteError, match="cannot be fetched") as caught:
        fetch(file, environ=environ)
    assert str(place(file, environ)) in str(caught.value.hint)


def test_an_error_page_is_no_file(server: Server, environ: dict[str, str]) -> None:
    server.answer = lambda handler: handler.send_error(404)
    with pytest.raises(SuiteError, match="404"):
        fetch(wanted(server), environ=environ)


def test_two_at_once_get_the_same_file(server: Server, environ: dict[str, str]) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch(wanted(server), environ=environ)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert {path.read_bytes() for path in found} == {CONTENT}
