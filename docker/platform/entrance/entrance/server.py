"""Answers the requests that nginx could not lead to a site."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from entrance.answers import HTML, TEXT, Answer
from entrance.fleet import Fleet
from entrance.overview import Overview
from entrance.pages import asleep_text, progress_page, unknown_page, unreadable_page
from entrance.rules import Place, Rules, sleeps
from entrance.visits import Manner, Visit, manner_of
from entrance.waker import Waker

HOLD_SECONDS = 25.0
HELD_MAX = 200
"""How many requests are held at a time: each has a thread, and a connection of nginx'."""
PROBE = "waker"
"""The host that nginx names for probes."""


@dataclass
class Entrance:
    """Answers requests."""

    rules: Rules
    fleet: Fleet
    waker: Waker
    overview: Overview
    places: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(HELD_MAX)
    )

    def answer(self, host: str, visit: Visit) -> Answer:
        """Return the answer to a request, which may take ``HOLD_SECONDS``."""
        if not self.fleet.known.is_set():
            return Answer(503, unreadable_page(), HTML, 5)
        place = self.rules.place_of(host)
        found = self.waker.find(place) if place else None
        if place is None or found is None:
            return Answer(404, unknown_page(), HTML)
        manner = manner_of(visit)
        if manner is Manner.NEVER:
            text = asleep_text(place.slug) if sleeps(found) else "This site does not answer yet.\n"
            return Answer(503, text, TEXT, 120)
        waking = self.waker.ask(place, found)
        if manner is Manner.PAGE:
            return Answer(503, progress_page(place.slug, waking.progress), HTML, 2)
        if not self.places.acquire(blocking=False):
            return _late(place)
        try:
            is_open = waking.is_open.wait(HOLD_SECONDS)
        finally:
            self.places.release()
        return Answer(200, site=True) if is_open else _late(place)


def _late(place: Place) -> Answer:
    return Answer(503, f"{place.slug} does not answer yet.\n", TEXT, 5)


class Server(ThreadingHTTPServer):
    """The server, on loopback."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, entrance: Entrance) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.entrance = entrance


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
            known = self.server.entrance.fleet.known.is_set()
            self._send(Answer(200 if known else 503, "ok\n" if known else "not yet\n"))
            return
        entrance, host = self.server.entrance, self.headers.get("Host", "")
        if site := entrance.rules.page_of(host):
            login = self.headers.get("Authorization", "")
            self._send(entrance.overview.answer(site, self.command, self.path, login))
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
