"""What a node answers: containers' logs to the API server, and the pods' own site."""

from __future__ import annotations

import ipaddress
import itertools
import os
import random
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.kubelet import Container

PAGES: Mapping[str, tuple[str, str]] = {
    "/s/login": (
        "text/html; charset=utf-8",
        '<!DOCTYPE html><title>Mautic</title><link rel="stylesheet" href="/media/css/app.css">'
        "<form><input name=_username></form>",
    ),
    "/media/css/app.css": ("text/css", "body { margin: 0 }"),
    "/healthz": ("text/plain", "ok"),
    "/fpm-ping": ("text/plain", "pong"),
}
"""What every pod's site serves: path, type and body."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, kind: str, body: str) -> None:
        raw = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


class LogServer:
    """The kubelet's HTTPS endpoint, as far as `pods/log` needs it."""

    def __init__(
        self, find: Callable[[str, str, str], Container | None], certificate: Path
    ) -> None:
        class Handler(_Handler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                _, call, namespace, pod, name = parts.path.split("/")
                container = find(namespace, pod, name) if call == "containerLogs" else None
                if container is None:
                    self.answer(404, "text/plain", f'pod "{pod}" does not exist')
                    return
                query = parse_qs(parts.query)
                status, text = _log(container, pod, query.get("previous") == ["true"])
                tail = int(query.get("tailLines", ["0"])[0])
                if status == 200 and tail:
                    text = "".join(text.splitlines(keepends=True)[-tail:])
                self.answer(status, "text/plain", text)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.with_suffix(".crt"), certificate.with_suffix(".key"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Start to answer."""
        threading.Thread(target=self._server.serve_forever, daemon=True, name="kubelet").start()

    def stop(self) -> None:
        """Stop to answer."""
        self._server.shutdown()
        self._server.server_close()


def _log(container: Container, pod: str, previous: bool) -> tuple[int, str]:
    """Return a log, or the kubelet's refusal (validateContainerLogStatus of kubelet_pods.go)."""
    logs = list(container.logs)
    if previous:
        if not container.last:
            words = f'previous terminated container "{container.name}" in pod "{pod}" not found'
            return 400, words
        return 200, _text(logs[-2] if "running" in container.state else logs[-1])
    if not logs:
        reason = container.state.get("waiting", {}).get("reason")
        words = f'container "{container.name}" in pod "{pod}" is waiting to start'
        return 400, f"{words}: {reason}"
    return 200, _text(logs[-1])


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


class Network:
    """Addresses for pods. As root each of them is this machine's own, and a site is served there.

    The API server refuses to proxy to loopback addresses; a local route to a private range makes
    any address of that range this machine's own without touching an interface.

    Attributes:
        refused: why no site can be served, or an empty string.
    """

    def __init__(self) -> None:
        third = random.randrange(256)  # noqa: S311 - several test runs must not meet
        self._range = ipaddress.ip_network(f"10.214.{third}.0/24")
        self._hosts = itertools.cycle(self._range.hosts())
        self._lock = threading.Lock()
        self._servers: dict[str, list[ThreadingHTTPServer]] = {}
        self.refused = "not started"

    def start(self) -> None:
        """Make the range this machine's own, if that is allowed."""
        if os.geteuid() != 0 or not shutil.which("ip"):
            self.refused = "pods' addresses need root and the program ip"
            return
        done = self._route("replace")
        self.refused = done.stderr.strip() if done.returncode else ""

    def stop(self) -> None:
        """Close all sites and give the range back."""
        for address in list(self._servers):
            self.close(address)
        if not self.refused:
            self._route("del")

    def address(self) -> str:
        """Return another address."""
        with self._lock:
            return str(next(self._hosts))

    def serve(self, address: str, ports: Sequence[int]) -> None:
        """Serve the site on these ports of an address, where that is possible."""
        if self.refused:
            return
        servers = []
        for port in ports:
            server = ThreadingHTTPServer((address, port), _Site)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True, name=address).start()
            servers.append(server)
        with self._lock:
            self._servers[address] = servers

    def close(self, address: str) -> None:
        """Stop to serve on an address."""
        with self._lock:
            servers = self._servers.pop(address, [])
        for server in servers:
            server.shutdown()
            server.server_close()

    def _route(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "route", action, "local", str(self._range), "dev", "lo"],
            capture_output=True,
            text=True,
            check=False,
        )


class _Site(_Handler):
    def do_GET(self) -> None:
        kind, body = PAGES.get(urlsplit(self.path).path, ("text/plain", ""))
        self.answer(200 if body else 404, kind, body or "not found")
