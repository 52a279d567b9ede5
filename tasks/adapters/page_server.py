"""Serves one page to the browsers of this machine."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from tasks.adapters.wait import CLOCK
from tasks.core.errors import InputError

ADDRESS = "127.0.0.1"
FRESH_SECONDS = 3.0
"""How long an answer serves all who ask."""
IDLE_SECONDS = 10
"""How long a connection may say nothing."""


@dataclass(frozen=True)
class Answer:
    """What a browser gets.

    Attributes:
        kind: the text's media type.
    """

    status: int
    kind: str
    text: str


class PageServer(ThreadingHTTPServer):
    """Serves an answer on loopback, made anew when it is asked for and the last one is old.

    Args:
        port: 0 for any that is free.
        make: makes the answer; one call at a time.
        headers: of every answer.

    Raises:
        InputError: the port is not to be had.
    """

    daemon_threads = True

    def __init__(
        self, port: int, make: Callable[[], Answer], headers: Mapping[str, str] | None = None
    ) -> None:
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise InputError(f"--port {port}: {error.strerror}", hint="give another") from error
        self._make = make
        self._turn = threading.Lock()
        self._last: tuple[float, Answer] | None = None
        self.headers = {**_HEADERS, **(headers or {})}

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{ADDRESS}:{self.server_port}/"

    @property
    def hosts(self) -> frozenset[str]:
        """What this is called by whom it is for: a site of the world must not read it by DNS."""
        return frozenset(f"{name}:{self.server_port}" for name in (ADDRESS, "localhost"))

    def answer(self) -> Answer:
        """Return the last answer if it is fresh, else a new one."""
        with self._turn:
            if self._last is None or CLOCK.monotonic() - self._last[0] > FRESH_SECONDS:
                made = self._make()
                self._last = (CLOCK.monotonic(), made)
            return self._last[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone; anything else is told as ever."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PLAIN = "text/plain"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout: ClassVar = IDLE_SECONDS
    server_version = "inv"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the page."""
        self._send(self._answer(), body=True)

    def do_HEAD(self) -> None:
        """Answer as to GET, without the page."""
        self._send(self._answer(), body=False)

    def log_message(self, *_: object) -> None:
        """Say nothing: who asks is this machine's user."""

    def _answer(self) -> Answer:
        if self.headers.get("Host", "").lower() not in self.server.hosts:
            return Answer(403, _PLAIN, f"ask {self.server.url}\n")
        if self.path.partition("?")[0] != "/":
            return Answer(404, _PLAIN, "there is one page: /\n")
        return self.server.answer()

    def _send(self, answer: Answer, *, body: bool) -> None:
        content = answer.text.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)
