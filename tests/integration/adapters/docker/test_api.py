"""What the engine is asked without the library, and with it, comes to the same."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tasks.adapters.docker.api import EngineApi
from tasks.adapters.docker.engine import Engine
from tasks.core.errors import EngineError
from tests.support.suite import ROOT

Answers = dict[str, tuple[int, Any]]


class Requests(list[tuple[str, str, str]]):
    """Method, path and body of every request but those for the API's version."""

    answers: Answers
    headers: dict[str, str]


@pytest.fixture(params=["socket", "tcp"])
def played(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Requests]:
    """An engine that answers as it was told, by method and path; by each way to reach one."""
    asked = Requests()
    asked.answers = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def address_string(self) -> str:
            return ""

        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            asked.headers = dict(self.headers.items())
            path = self.path.removeprefix("/v1.44")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if path in {"/_ping", "/version"}:
                self.answer(200, {"ApiVersion": "1.44"})
                return
            assert path != self.path, "every other path has the version"
            asked.append((self.command, path, body))
            self.answer(*asked.answers[f"{self.command} {urlsplit(path).path}"])

        def do_POST(self) -> None:
            self.do_GET()

        def do_DELETE(self) -> None:
            self.do_GET()

        def answer(self, status: int, body: Any) -> None:
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Api-Version", "1.44")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    for name in ("DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    server: socketserver.ThreadingUnixStreamServer | socketserver.ThreadingTCPServer
    if request.param == "socket":
        server = socketserver.ThreadingUnixStreamServer(str(tmp_path / "engine.sock"), Handler)
        host = f"unix://{tmp_path}/engine.sock"
    else:
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        host = f"tcp://127.0.0.1:{server.server_address[1]}"
    server.daemon_threads = True
    monkeypatch.setenv("DOCKER_HOST", host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield asked
    server.shutdown()
    server.server_close()


def test_a_question_has_its_filters_and_the_user_s_headers(
    played: Requests, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"HttpHeaders": {"X-Team": "mail"}}))
    played.answers["GET /containers/json"] = (200, [])
    assert Engine().containers("a=b&c") == []
    ((method, path, body),) = played
    assert (method, body) == ("GET", "")
    query = parse_qs(urlsplit(path).query)
    assert query == {"all": ["1"], "filters": ['{"label": ["a=b&c"]}']}
    assert played.headers["X-Team"] == "mail"


def test_what_is_gone_is_no_error_and_a_refusal_is(played: Requests) -> None:
    gone, no = (404, {"message": "no such thing"}), (500, {"message": "not today"})
    played.answers |= {
        "GET /containers/x/json": gone,
        "GET /images/r/a:1/json": gone,
        "DELETE /volumes/v": gone,
        "DELETE /networks/n": no,
        "GET /networks": no,
    }
    engine = Engine()
    assert engine.inspect("x") is None
    assert engine.image("r/a:1") is None
    engine.remove_volume("v")
    with pytest.raises(EngineError, match="refused removing network n: not today"):
        engine.remove_network("n")
    with pytest.raises(EngineError, match="refused listing networks: not today"):
        engine.networks()


def test_a_full_disk_is_told(played: Requests) -> None:
    played.answers["POST /volumes/create"] = (500, {"message": "x: no space left on device"})
    with pytest.raises(EngineError, match="the disk of the Docker Engine is full"):
        Engine().create_volume("v", {"a": "b"})
    ((_, _, body),) = played
    assert json.loads(body) == {"Name": "v", "Labels": {"a": "b"}}


@pytest.mark.parametrize(
    ("reason", "passes"), [("removal of container x is already in progress", True), ("no", False)]
)
def test_a_container_that_somebody_else_removes(
    reason: str, passes: bool, played: Requests
) -> None:
    played.answers["DELETE /containers/x"] = (409, {"message": reason})
    if passes:
        Engine().remove_container("x")
    else:
        with pytest.raises(EngineError, match="refused removing container x: no"):
            Engine().remove_container("x")


def test_an_answer_that_is_no_json_is_told(played: Requests) -> None:
    played.answers["GET /networks"] = (200, "<html>")
    with pytest.raises(EngineError, match="listing networks failed: "):
        Engine().networks()


def test_what_is_no_engine_is_told(played: Requests) -> None:
    played.answers |= {"GET /networks": (404, "page not found"), "GET /volumes": (200, None)}
    with pytest.raises(EngineError, match="refused listing networks: page not found"):
        Engine().networks()
    with pytest.raises(EngineError, match="listing volumes failed: the Docker Engine said nothing"):
        Engine().volumes()


def test_a_name_that_leads_elsewhere_is_not_taken_for_removed() -> None:
    with pytest.raises(EngineError, match="refused removing volume"):
        Engine().remove_volume("..")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "it closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it does not speak HTTP"),
        (b"HTTP/1.0 2", "it does not speak HTTP"),
        (b"HTTP/1.0 200 OK\r\nContent-Length:3\r\n\r\n{}", "its answer was cut off"),
    ],
)
def test_an_answer_that_is_none_is_told(
    answer: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(answer)

    place = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{place}")
    with socketserver.UnixStreamServer(str(place), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(EngineError) as caught:
            Engine().networks()
    assert why in "\n".join(caught.value.lines())


def test_an_engine_that_says_nothing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "engine.sock"))
        silent.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{silent.getsockname()}")
        with pytest.raises(EngineError, match="did not answer in time"):
            EngineApi(1).read("listing networks", "/networks")


def test_a_socket_of_this_machine_needs_no_library(engine: object) -> None:
    """Importing it takes longer than all that `inv url` does."""
    program = (
        "import sys\n"
        "from tasks.adapters.docker.engine import Engine\n"
        "engine = Engine()\n"
        "engine.containers('a=b'), engine.volumes(), engine.networks(), engine.platform\n"
        "sys.exit(bool({'docker', 'requests', 'urllib3'} & set(sys.modules)))\n"
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith("DOCKER_")}
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, check=True)
