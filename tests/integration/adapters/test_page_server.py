"""A page for this machine's browsers, and for nobody else."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tasks.adapters import page_server
from tasks.adapters.page_server import Answer, PageServer
from tasks.core.errors import InputError
from tests.support.clock import PlayedClock

PAGE = Answer(200, "text/html", "<p>grün</p>")


class Made:
    """Counts how often the page is made."""

    def __init__(self, answer: Answer = PAGE, *, seconds: float = 0) -> None:
        self.count = 0
        self._answer = answer
        self._seconds = seconds

    def __call__(self) -> Answer:
        self.count += 1
        time.sleep(self._seconds)
        return self._answer


@contextmanager
def serving(made: Made) -> Iterator[PageServer]:
    with PageServer(0, made, {"X-Test": "1"}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def ask(
    server: PageServer, path: str = "/", *, method: str = "GET", host: str = ""
) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    headers = {"Host": host} if host else {}
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response, response.read().decode()


def test_it_is_served_as_it_is_made_on_loopback_alone() -> None:
    with serving(Made()) as server:
        response, text = ask(server)
        assert (response.status, text) == (200, PAGE.text)
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["X-Test"] == "1"
        assert response.headers["Cache-Control"] == "no-store"
        assert server.url == f"http://127.0.0.1:{server.server_port}/"
        assert server.server_address[0] == "127.0.0.1"
        response, text = ask(server, method="HEAD")
        assert (response.status, text) == (200, "")
        assert response.headers["Content-Length"] == str(len(PAGE.text.encode()))


def test_a_site_of_the_world_cannot_read_it_by_a_name_that_leads_here() -> None:
    made = Made()
    with serving(made) as server:
        for host in ("evil.example.com", f"evil.example.com:{server.server_port}", "127.0.0.1"):
            assert ask(server, host=host)[0].status == 403
        assert made.count == 0
        assert ask(server, host=f"LOCALHOST:{server.server_port}")[0].status == 200


@pytest.mark.parametrize("path", ["/favicon.ico", "/../etc/passwd", "//evil.example.com/"])
def test_there_is_one_page(path: str) -> None:
    made = Made()
    with serving(made) as server:
        assert ask(server, path)[0].status == 404
        assert ask(server, method="POST")[0].status == 501
    assert made.count == 0


def test_it_is_made_anew_when_it_is_old_and_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = PlayedClock()
    monkeypatch.setattr(page_server, "CLOCK", clock.clock)
    made = Made()
    with serving(made) as server:
        ask(server)
        ask(server, "/?again")
        assert made.count == 1
        clock.sleep(page_server.FRESH_SECONDS + 0.1)
        assert made.count == 1
        ask(server)
        assert made.count == 2


def test_who_ask_at_once_share_one_answer() -> None:
    made = Made(seconds=0.3)
    with serving(made) as server, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(server)[0].status, range(8)))
    assert answers == [200] * 8
    assert made.count == 1


def test_what_cannot_be_looked_at_is_told_and_not_the_end() -> None:
    with serving(Made(Answer(503, "text/plain", "the API is away\n"))) as server:
        response, text = ask(server)
        assert (response.status, text) == (503, "the API is away\n")


def test_a_port_that_somebody_has_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: "):
            PageServer(port, Made())


def test_a_browser_that_goes_is_no_event(capfd: pytest.CaptureFixture[str]) -> None:
    big = Answer(200, "text/html", "x" * 20_000_000)
    with serving(Made(big)) as server:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.server_port)) as gone:
                gone.sendall(
                    f"GET / HTTP/1.0\r\nHost: localhost:{server.server_port}\r\n\r\n".encode()
                )
                gone.recv(10)
                # It is reset, and not only closed.
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        response, text = ask(server)
        assert (response.status, len(text)) == (200, 20_000_000)
    assert capfd.readouterr().err == ""
