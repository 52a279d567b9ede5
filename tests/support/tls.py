"""A server with an untrusted certificate that counts connections."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
from pathlib import Path
from typing import Any

from tests.support.controlplane import Pki
from tests.support.serving import Serving

EMPTY_LIST = {"kind": "List", "items": [], "metadata": {"resourceVersion": "1"}}


class Misfit(Serving):
    """Speaks TLS with a certificate of its own authority, and answers all with an empty list.

    Attributes:
        url: its address, which its certificate is for.
        authority: path of the authority's certificate.
        tries: how many connections were made to it.
    """

    def __init__(self, folder: Path) -> None:
        pki = Pki(folder / "pki")
        pki.issue("server", "server", server=True)
        self.authority = pki.root / "ca.crt"
        self.tries = 0
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.root / "server.crt", pki.root / "server.key")
        self._server = _Counting(self, context)
        self.port = self._server.server_address[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.other_url = f"https://127.0.0.2:{self.port}"
        """The same server by an address that its certificate is not for."""

    def kubeconfig(self, path: Path, **cluster: Any) -> Path:
        """Write a kubeconfig with the context `test` that leads here; return its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, **cluster}}],
            "users": [{"name": "test", "user": {"token": "planted-token"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(config))
        return path


class _Counting(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, misfit: Misfit, context: ssl.SSLContext) -> None:
        super().__init__(("0.0.0.0", 0), _Handler)  # noqa: S104 - 127.0.0.2 as well
        self._misfit = misfit
        self._context = context

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._misfit.tries += 1
        return self._context.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False
        ), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: whoever does not trust the certificate hangs up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(EMPTY_LIST).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""
