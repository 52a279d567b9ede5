"""Minimal Python packages: wheels, and an index that serves them."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import importlib.metadata
import re
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_PIN = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?P<marker>[^\\]*)", re.MULTILINE)


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    files: Mapping[str, str | bytes] | None = None,
    metadata: Sequence[str] = (),
) -> Path:
    """Make a wheel.

    Args:
        folder: where it is put.
        name: of the package.
        version: of the package.
        files: what it holds; ``{info}`` and ``{data}`` stand for its folders of metadata and data.
        metadata: further lines of its METADATA.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    head = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *metadata]
    contents: dict[str, str | bytes] = {
        **{
            path.format(info=f"{stem}.dist-info", data=f"{stem}.data"): text
            for path, text in (files or {}).items()
        },
        f"{stem}.dist-info/METADATA": "\n".join(head) + "\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{stem}.dist-info/RECORD"
    lines = [f"{record},,"]
    for path, text in contents.items():
        data = text.encode() if isinstance(text, str) else text
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
        lines.append(f"{path},sha256={digest.decode()},{len(data)}")
    contents[record] = "\n".join(lines) + "\n"
    wheel = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in contents.items():
            entry = zipfile.ZipInfo(path)  # of 1980: the same wheel whenever it is made
            entry.external_attr = 0o100755 << 16  # a file, and one that may be run
            archive.writestr(entry, text)
    return wheel


def make_uv(folder: Path) -> Path:
    """Make a wheel of the real uv, from the program beside this Python."""
    version = importlib.metadata.version("uv")
    program = Path(sys.executable).with_name("uv").read_bytes()
    return make_wheel(folder, "uv", version, files={"{data}/scripts/uv": program})


def make_release(folder: Path, name: str, version: str) -> Path:
    """Make an empty wheel that depends on what the installed package of that name depends on."""
    metadata: list[str] = []
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found = importlib.metadata.metadata(name)
        for key in ("Requires-Dist", "Provides-Extra"):
            metadata += [f"{key}: {value}" for value in found.get_all(key, [])]
    return make_wheel(folder, name, version, metadata=metadata)


def pin(wheel: Path, *, marker: str = "") -> str:
    """Return the entry of a lock that names a wheel and nothing else."""
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}=={version}{marker} \\\n    --hash=sha256:{digest}\n"


def replica(lock: Path, folder: Path) -> tuple[str, list[str]]:
    """Make a small release of everything that a lock names, and a newer one of each.

    Args:
        lock: a lock of this project.
        folder: where the wheels are put.

    Returns:
        The lock of these releases, with the same versions, and the names in it.
    """
    entries, names = [], []
    for found in _PIN.finditer(lock.read_text()):
        name, version = found["name"], found["version"]
        make_release(folder, name, f"{version}.1")
        wheel = make_uv(folder) if name == "uv" else make_release(folder, name, version)
        entries.append(pin(wheel, marker=found["marker"].rstrip()))
        names.append(name)
    return "".join(entries), names


@contextlib.contextmanager
def serve(wheels: Path) -> Iterator[str]:
    """Serve a folder of wheels as a package index (PEP 503); yield its URL."""

    class Index(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/simple/"):
                return super().do_GET()
            name = self.path.split("/")[2].replace("-", "_")
            links = "".join(
                f'<a href="/{path.name}">{path.name}</a>\n'
                for path in sorted(wheels.glob("*.whl"))
                if path.name.split("-")[0].lower().replace(".", "_") == name
            )
            self.send_response(200 if links else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(links)))
            self.end_headers()
            self.wfile.write(links.encode())
            return None

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    handler = functools.partial(Index, directory=str(wheels))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()


@contextlib.contextmanager
def silent_index() -> Iterator[tuple[str, socket.socket]]:
    """A package index that takes a connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple", server
