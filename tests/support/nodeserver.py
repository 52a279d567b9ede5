"""The server of the tests' node: logs and exec for the API server, and the pods' sites."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import random
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support import nodeexec
from tests.support.kubelet import Container

FOLLOW_SECONDS = 0.1
"""How often a followed log is read."""

POD_RANGES = ipaddress.IPv4Network("10.208.0.0/12")
RANGES_TRIED = 50

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
"""The pages of every pod's site: path, type and body."""


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


class KubeletServer:
    """The kubelet's HTTPS endpoint, as far as `pods/log` and `pods/exec` need it.

    It serves the API server alone, by its client certificate: exec runs programs of this machine.
    """

    def __init__(
        self, find: Callable[[str, str, str], Container | None], pki: Path, programs: Path
    ) -> None:
        class Handler(_Handler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                _, call, namespace, pod, name = parts.path.split("/")
                container = find(namespace, pod, name)
                query = parse_qs(parts.query, keep_blank_values=True)
                if container is None:
                    self.answer(404, "text/plain", f'pod "{pod}" does not exist')
                elif call == "exec":
                    env = {"POD": pod, "CONTAINER": name, "TERM": "xterm", "HOME": str(programs)}
                    env["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
                    nodeexec.serve(self, query["command"], env, tty="tty" in query)
                elif call == "containerLogs":
                    only = {key: value[0] for key, value in query.items()}
                    _answer_log(self, container, pod, only)
                else:
                    self.answer(404, "text/plain", call)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "kubelet.crt", pki / "kubelet.key")
        context.load_verify_locations(pki / "ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Start the server."""
        threading.Thread(target=self._server.serve_forever, daemon=True, name="kubelet").start()

    def stop(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()


def _answer_log(
    handler: _Handler, container: Container, pod: str, query: Mapping[str, str]
) -> None:
    """Answer with a log, or the kubelet's refusal (validateContainerLogStatus)."""
    logs = container.logs
    if query.get("previous") == "true":
        if not container.last:
            words = f'previous terminated container "{container.name}" in pod "{pod}" not found'
            handler.answer(400, "text/plain", words)
            return
        lines = logs[-2] if "running" in container.state else logs[-1]
    elif logs:
        lines = logs[-1]
    else:
        reason = container.state.get("waiting", {}).get("reason")
        words = f'container "{container.name}" in pod "{pod}" is waiting to start: {reason}'
        handler.answer(400, "text/plain", words)
        return
    stamped = query.get("timestamps") == "true"
    since = query.get("sinceTime", "").removesuffix("Z")
    shown = [line for line in _stamped(container, lines) if line >= since]
    if "tailLines" in query:
        shown = shown[len(shown) - min(int(query["tailLines"]), len(shown)) :]
    if query.get("follow") != "true":
        handler.answer(200, "text/plain", _text(shown, stamped=stamped))
        return
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    handler.end_headers()
    handler.close_connection = True
    run, sent, is_over = container.id, len(lines), False
    with contextlib.suppress(OSError):  # whoever read it has gone
        while True:
            handler.wfile.write(_text(shown, stamped=stamped).encode())
            if is_over:
                return
            time.sleep(FOLLOW_SECONDS)
            is_over = container.id != run or "running" not in container.state
            shown = _stamped(container, lines)[sent:]
            sent += len(shown)


def _stamped(container: Container, lines: Sequence[str]) -> list[str]:
    """Return lines after time stamps: when they were written is forgotten, the order is kept."""
    state = next(iter(container.state.values()), {})
    began = state.get("startedAt", "1970-01-01T00:00:00Z").removesuffix("Z")
    return [f"{began}.{number:09}Z {line}" for number, line in enumerate(list(lines))]


def _text(lines: Sequence[str], *, stamped: bool) -> str:
    return "".join(f"{line if stamped else line.partition(' ')[2]}\n" for line in lines)


class Network:
    """Addresses for pods. As root each of them is this machine's own, and a site is served there.

    The API server refuses to proxy to loopback addresses; a local route to a private range makes
    any address of that range this machine's own without touching an interface.

    Attributes:
        refused: why no site can be served, or an empty string.
    """

    def __init__(self) -> None:
        self._range = ""
        self._hosts: Iterator[ipaddress.IPv4Address] = iter(())
        self._lock = threading.Lock()
        self._servers: dict[str, list[ThreadingHTTPServer]] = {}
        self.refused = "not started"

    def start(self) -> None:
        """Make a range this machine's own, if that is allowed: one that no other node has."""
        # A range without its route still gives pods addresses.
        for number in random.sample(range(POD_RANGES.num_addresses // 256), RANGES_TRIED):
            found = ipaddress.IPv4Network((int(POD_RANGES.network_address) + 256 * number, 24))
            self._range, self._hosts = str(found), itertools.cycle(found.hosts())
            if os.geteuid() != 0 or not shutil.which("ip"):
                self.refused = "pods' addresses need root and the program ip"
                return
            # `add` fails where the route is there: another run's, which must not lose it to us.
            done = self._route("add")
            self.refused = done.stderr.strip() if done.returncode else ""
            if "File exists" not in self.refused:
                return

    def stop(self) -> None:
        """Close all sites and give the range back."""
        for address in list(self._servers):
            self.close(address)
        if not self.refused:
            self._route("del")

    def address(self) -> str:
        """Return another address: the next one where nothing is served any more."""
        with self._lock:
            return next(host for host in map(str, self._hosts) if host not in self._servers)

    def serve(self, address: str, ports: Sequence[int], *, has_door: bool) -> None:
        """Serve the site on these ports of an address, where that is possible."""
        if self.refused:
            return
        servers = []
        for port in ports:
            server = ThreadingHTTPServer((address, port), _SiteWithDoor if has_door else _Site)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True, name=address).start()
            servers.append(server)
        with self._lock:
            self._servers[address] = servers

    def close(self, address: str) -> None:
        """Stop serving on an address."""
        with self._lock:
            servers = self._servers.pop(address, [])
        for server in servers:
            server.shutdown()
            server.server_close()

    def _route(self, action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "route", action, "local", self._range, "dev", "lo"],
            capture_output=True,
            text=True,
            check=False,
        )


class _Site(_Handler):
    def do_GET(self) -> None:
        kind, body = PAGES.get(urlsplit(self.path).path, ("text/plain", ""))
        self.answer(200 if body else 404, kind, body or "not found")


class _SiteWithDoor(_Site):
    def do_GET(self) -> None:
        if "mautic_door=" in self.headers.get("Cookie", ""):
            super().do_GET()
        else:
            self.answer(401, "text/plain", "who are you?")
