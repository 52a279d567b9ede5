"""Answers the requests that nginx could not lead to a site."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from entrance.answers import HTML, TEXT, Answer
from entrance.overview import Overview
from entrance.pages import asleep_text, progress_page, unknown_page, unreadable_page
from entrance.visits import Manner, Visit, manner_of
from entrance.waker import Found, Waker
from entrance.waking import UnansweredError

log = logging.getLogger("entrance")

HOLD_SECONDS = 25.0
NOTED_SECONDS = 10.0
"""How long a page waits until it is stored that its environment is being woken."""
HELD_MAX = 200
"""How many requests are held at a time: each has a thread, and a connection of nginx'."""
PROBE = "waker"
"""The host that nginx names for probes."""


@dataclass
class Entrance:
    """Answers requests."""

    waker: Waker
    overview: Overview | None = None
    places: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(HELD_MAX)
    )

    def answer(self, host: str, visit: Visit) -> Answer:
        """Return the answer to a request, which may take ``HOLD_SECONDS``."""
        if not self.waker.is_ready():
            return Answer(503, unreadable_page(), HTML, 5)
        try:
            found = self.waker.find(host)
        except UnansweredError as error:
            log.warning("%s", error)
            return Answer(503, unreadable_page(), HTML, 5)
        return self._answer_of(found, visit) if found else Answer(404, unknown_page(), HTML)

    def _answer_of(self, found: Found, visit: Visit) -> Answer:
        manner = manner_of(visit)
        if manner is Manner.NEVER:
            text = asleep_text(found.slug) if found.sleeps else "This site does not answer yet.\n"
            return Answer(503, text, TEXT, 120)
        waking = self.waker.ask(found)
        if manner is Manner.PAGE:
            # Who has seen it may leave: what was begun goes on without visitor and process.
            waking.is_noted.wait(NOTED_SECONDS)
            return Answer(503, progress_page(found.slug, waking.progress), HTML, 2)
        if not self.places.acquire(blocking=False):
            return _late(found)
        try:
            is_open = waking.is_open.wait(HOLD_SECONDS)
        finally:
            self.places.release()
        return Answer(200, site=True) if is_open else _late(found)


def _late(found: Found) -> Answer:
    return Answer(503, f"{found.slug} does not answer yet.\n", TEXT, 5)


class Server(ThreadingHTTPServer):
    """The server.

    Args:
        address: of its own that it listens on.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, entrance: Entrance, address: str = "127.0.0.1") -> None:
        super().__init__((address, port), _Handler)
        self.entrance = entrance

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of who has gone before the answer; anything else is told as ever."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 60

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer all methods alike: the base class looks for `do_GET` and the like."""
        if name.startswith("do_"):
            return self._respond
        raise AttributeError(name)

    def _respond(self) -> None:
        if self.headers.get("Host") == PROBE:
            known = self.server.entrance.waker.is_ready()
            self._send(Answer(200 if known else 503, "ok\n" if known else "not yet\n"))
            return
        entrance, host = self.server.entrance, self.headers.get("Host", "")
        overview = entrance.overview
        if overview and (site := overview.site_of(host)):
            login = self.headers.get("Authorization", "")
            self._send(overview.answer(site, self.command, self.path, login))
            return
        self._send(entrance.answer(host, visit_of(self.command, self.path, self.headers)))

    def _send(self, answer: Answer) -> None:
        self.send_response(HTTPStatus(answer.status))
        for name, value in answer.headers().items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body.encode())

    def log_message(self, *_: object) -> None:
        """Log no requests: addresses are somebody's data."""


def visit_of(method: str, target: str, headers: Message[str, str]) -> Visit:
    """Return what a request tells."""
    purpose = f"{headers.get('Sec-Purpose', '')} {headers.get('Purpose', '')}"
    return Visit(method, target, headers.get("Accept", ""), headers.get("User-Agent", ""), purpose)
