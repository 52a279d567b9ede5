"""A proxy in front of the API server that misbehaves on demand."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.controlplane import ControlPlane
from tests.support.serving import Serving

Only = Callable[[str, str], bool]


class FaultyProxy(Serving):
    """Forwards every request as the administrator, unless a fault is set.

    Attributes:
        failed: how many requests were answered with a fault.
        dropped: how many watches were cut off.
        requests: what was asked for: method and path, in order.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._context = ssl.create_default_context(cafile=str(plane.pki.root / "ca.crt"))
        self._context.load_cert_chain(plane.pki.root / "admin.crt", plane.pki.root / "admin.key")
        self._upstream = plane.url.removeprefix("https://")
        self._lock = threading.Lock()
        self._fault: tuple[int, int, int, str, dict[str, str], Only] | None = None
        self._lost: Only | None = None
        self._repeated: Only | None = None
        self._seen = 0
        self._drop_after: float | None = None
        self._away = False
        self._streams: set[socket.socket] = set()
        self.failed = 0
        self.dropped = 0
        self.requests: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    def write_kubeconfig(self, path: Path, user: dict[str, object] | None = None) -> Path:
        """Write a kubeconfig with the context `test` that leads here."""
        server = f"http://127.0.0.1:{self._server.server_address[1]}"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": server}}],
            "users": [{"name": "test", "user": user or {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def fail(
        self,
        status: int,
        *,
        every: int = 1,
        times: int = 10**9,
        only: Only = lambda request, agent: True,
        words: str = "on demand",
        **headers: str,
    ) -> None:
        """Answer requests with a status.

        Args:
            status: the status.
            every: 1 for every request, 2 for every second one, and so on.
            times: so many times in all.
            only: says by method and path, and by the user agent, which requests count.
            words: the answer's body.
            headers: headers of the answer, with underscores for hyphens.
        """
        with self._lock:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            self._fault, self._seen = (status, every, times, words, named, only), 0

    def lose_answer(self, only: Only) -> None:
        """Forward the next matching request, but close its connection without an answer."""
        with self._lock:
            self._lost = only

    def loses(self, request: str, agent: str) -> bool:
        """Return True once if the answer to this request must be dropped."""
        with self._lock:
            found = self._lost is not None and self._lost(request, agent)
            if found:
                self._lost = None
            return found

    def repeat(self, only: Only) -> None:
        """Forward the next matching request twice, like a client whose answer was lost."""
        with self._lock:
            self._repeated = only

    def repeats(self, request: str, agent: str) -> bool:
        """Return True once if this request must be forwarded twice."""
        with self._lock:
            found = self._repeated is not None and self._repeated(request, agent)
            if found:
                self._repeated = None
            return found

    def heal(self) -> None:
        """Reset all faults."""
        with self._lock:
            self._fault, self._drop_after = None, None

    def drop(self, *, after_seconds: float) -> None:
        """Cut every watch off, in the middle of a line, after so many seconds."""
        self._drop_after = after_seconds

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Close every connection unanswered, old ones and new ones."""
        self._away = True
        with self._lock:
            for stream in self._streams:
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
        yield
        self._away = False

    def is_away(self) -> bool:
        """Return True if connections must be closed without an answer."""
        return self._away

    @contextlib.contextmanager
    def streaming(self, client: socket.socket) -> Iterator[None]:
        """Remember a watch's connection while it is open."""
        with self._lock:
            self._streams.add(client)
        try:
            yield
        except OSError:  # the client has gone, or was sent away
            self.dropped += 1
        finally:
            with self._lock:
                self._streams.discard(client)

    def fault(self, request: str, agent: str) -> tuple[int, str, dict[str, str]] | None:
        """Return the answer to give instead of forwarding a request."""
        with self._lock:
            if self._fault is None or not self._fault[-1](request, agent):
                return None
            status, every, times, words, headers, _ = self._fault
            self._seen += 1
            if self._seen % every or self.failed >= times:
                return None
            self.failed += 1
            return status, words, headers

    def ask(self, handler: BaseHTTPRequestHandler) -> http.client.HTTPResponse:
        """Return the API server's answer."""
        body = read_body(handler) or None
        request = f"{handler.command} {handler.path}"
        if self.repeats(request, handler.headers.get("User-Agent", "")):
            self._pass_on(handler, body).read()
        return self._pass_on(handler, body)

    def _pass_on(
        self, handler: BaseHTTPRequestHandler, body: bytes | None
    ) -> http.client.HTTPResponse:
        upstream = http.client.HTTPSConnection(self._upstream, context=self._context, timeout=60)
        kept = ("Content-Type", "Accept", "Authorization", "Cookie")
        headers = {key: handler.headers[key] for key in kept if handler.headers.get(key)}
        upstream.request(handler.command, handler.path, body=body, headers=headers)
        return upstream.getresponse()

    def tunnel(self, handler: BaseHTTPRequestHandler) -> None:
        """Pass a websocket on, in both directions until both have ended."""
        host, _, port = self._upstream.partition(":")
        plain = socket.create_connection((host, int(port)), timeout=60)
        with self._context.wrap_socket(plain, server_hostname=host) as upstream:
            kept = "".join(f"{k}: {v}\r\n" for k, v in handler.headers.items() if k != "Host")
            head = f"{handler.requestline}\r\nHost: {self._upstream}\r\n{kept}\r\n"
            upstream.sendall(head.encode())

            def pass_back() -> None:
                with contextlib.suppress(OSError):
                    while data := upstream.recv(65536):
                        handler.connection.sendall(data)
                    handler.connection.shutdown(socket.SHUT_WR)

            back = threading.Thread(target=pass_back, daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := handler.rfile.read1(65536):
                    upstream.sendall(data)
            back.join(60)

    def chunks(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        """Yield a watch's chunks until it is to be dropped."""
        opened = time.monotonic()
        while chunk := _read(answer):
            if self._drop_after and time.monotonic() - opened > self._drop_after:
                self.dropped += 1
                yield chunk[: len(chunk) // 2]
                return
            yield chunk


def read_body(handler: BaseHTTPRequestHandler) -> bytes:
    """Return a request's body: unread, it would be taken for the next request."""
    return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(65536)
    except http.client.IncompleteRead:  # the API server was killed
        return b""


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if proxy.is_away():
                self.close_connection = True
                return
            request = f"{self.command} {self.path}"
            proxy.requests.append(request)
            agent = self.headers.get("User-Agent", "")
            if fault := proxy.fault(request, agent):
                status, words, headers = fault
                read_body(self)
                self._answer(status, words.encode(), {"Content-Type": "text/plain", **headers})
                return
            if self.headers.get("Upgrade"):
                self.close_connection = True
                proxy.tunnel(self)
                return
            query = set(self.path.partition("?")[2].split("&"))
            answer = proxy.ask(self)
            if proxy.loses(request, agent):
                answer.read()
                self.close_connection = True
                return
            kind = {"Content-Type": answer.headers["Content-Type"]}
            if not {"watch=true", "follow=true"} & query or answer.status != 200:
                self._answer(answer.status, answer.read(), kind)
                return
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.close_connection = True
            with proxy.streaming(self.connection):
                for chunk in proxy.chunks(answer):
                    self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")

        def __getattr__(self, name: str) -> Callable[[], None]:
            if name.startswith("do_"):
                return self.do_GET
            raise AttributeError(name)

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            # What a fault says of the time takes the place of the truth.
            (self.send_response_only if "Date" in headers else self.send_response)(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    return Handler
