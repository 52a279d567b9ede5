"""A registry that demands authentication, and its token server, on loopback."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

MANIFEST = json.dumps({"schemaVersion": 2}).encode()
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
USER, PASSWORD = "ada", "planted-s3cret"
IDENTITY = "planted-identity-token"
TOKEN = "planted-access-token"


def basic(user: str = USER, password: str = PASSWORD) -> str:
    """Return the Basic header of a user."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass
class RegistryStandin:
    """Knows one image under every name, and shows it to whoever sends one of some headers.

    Its token server gives a token for the password (GET), or for the identity token (POST).

    Args:
        headers: the ``WWW-Authenticate`` headers, in which ``REALM`` is the token server.
        opens: what ``Authorization`` must be.
        context: what TLS it speaks, or None for plain HTTP.
        token: what the token server answers.

    Attributes:
        asked: method, path and form, or query, of what the token server was asked.
        tries: how many connections were made to it.
    """

    headers: Sequence[str] = ()
    opens: str = ""
    context: ssl.SSLContext | None = None
    token: Mapping[str, Any] = field(default_factory=lambda: {"token": TOKEN})
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tries: int = 0

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def host(self) -> str:
        """Its host and port."""
        return f"localhost:{self.port}"


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, standin: RegistryStandin) -> None:
        self.standin = standin
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        self.standin.tries += 1
        if self.standin.context:
            connection = self.standin.context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever does not trust the certificate hangs up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        if self.path.startswith("/token"):
            self._give({**_flat(urlsplit(self.path).query)})
        else:
            self._serve()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._give(_flat(body.decode()))

    def _give(self, form: dict[str, str]) -> None:
        standin = self.server.standin
        standin.asked.append((self.command, form))
        if self.command == "POST":
            right = form.get("grant_type") == "refresh_token"
            right = right and form.get("refresh_token") == IDENTITY
        else:
            right = self.headers.get("Authorization") == basic()
        self._answer(200 if right else 401, json.dumps(dict(standin.token) if right else {}))

    def _serve(self) -> None:
        standin = self.server.standin
        if standin.opens and self.headers.get("Authorization") != standin.opens:
            scheme = "https" if standin.context else "http"
            realm = f"{scheme}://{self.headers['Host']}/token"
            self._answer(401, "", *(each.replace("REALM", realm) for each in standin.headers))
        else:
            self._answer(200, MANIFEST.decode())

    def _answer(self, status: int, body: str, *challenges: str) -> None:
        self.send_response(status)
        for challenge in challenges:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


def _flat(form: str) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(form).items()}
