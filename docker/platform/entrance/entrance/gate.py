"""The gate to a Docker Engine: what the waker of one machine may see and do there, and no more.

It alone has the engine's socket, and no network. The waker asks it by a socket of its own:

    GET /                     the environments that the proxy leads to
    GET /PROJECT              one of them, with the state of its services
    POST /PROJECT/SERVICE     starts a service that is stopped, of an environment that sleeps

It looks up itself what a project and a service are: nothing that it is sent reaches the engine.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
import socketserver
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tasks.core.compose.reconcile import ObservedContainer
from tasks.core.compose.record import BRANCH, PREFIX, RECORD, ComposeRecord, newest
from tasks.core.compose.stages import ONE_OFF, PROJECT, SERVICE, WEB, is_replacement
from tasks.core.errors import UnreadableError

log = logging.getLogger("entrance")

PATIENCE_SECONDS = 30
STOPPED = frozenset({"created", "exited"})
SLUG = f"{PREFIX}slug"
MESSAGE_MAX = 300

Object = Mapping[str, Any]


class EngineError(Exception):
    """The engine is away, or refuses; the message is its own."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP by a socket of this machine."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class Listed:
    """An environment that the proxy leads to.

    Attributes:
        project: its Compose project.
        asleep: whether its record says that it was put to sleep.
    """

    project: str
    slug: str
    asleep: bool


@dataclass(frozen=True)
class Engine:
    """The engine, by its socket."""

    path: Path

    def ask(self, method: str, where: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return what the engine answers, or None if it says nothing.

        Raises:
            EngineError: it is away, or refuses.
        """
        said = {key: json.dumps(value) for key, value in (query or {}).items()}
        connection = UnixConnection(self.path, PATIENCE_SECONDS)
        try:
            connection.request(method, where + (f"?{urlencode(said)}" if said else ""))
            answer = connection.getresponse()
            body = answer.read()
            found = json.loads(body) if body else None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise EngineError(f"the engine does not answer: {error}") from error
        finally:
            connection.close()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise EngineError(str((found or {}).get("message", answer.status))[:MESSAGE_MAX])
        return found


@dataclass(frozen=True)
class Gate:
    """Answers the waker.

    Attributes:
        network: of the proxy: whose web is not in it is not its concern.
    """

    engine: Engine
    network: str

    def environments(self) -> list[Listed]:
        """Return the environments that the proxy leads to.

        Raises:
            EngineError: the engine is away, or refuses.
        """
        records: dict[str, dict[str, Object]] = {}
        for volume in self.engine.ask("GET", "/volumes", {"filters": {"label": [RECORD]}})[
            "Volumes"
        ]:
            labels = volume["Labels"]
            records.setdefault(labels.get(PROJECT, ""), {})[volume["Name"]] = labels
        found = []
        for item in self._containers([BRANCH, f"{SERVICE}={WEB}"]):
            labels = item["Labels"]
            project = labels.get(PROJECT, "")
            if self.network in item["NetworkSettings"]["Networks"] and project in records:
                asleep = _is_asleep(project, records[project])
                found.append(Listed(project, labels.get(SLUG, ""), asleep))
        return found

    def services(self, project: str) -> list[ObservedContainer]:
        """Return the services of an environment, without what their programs have said.

        Raises:
            EngineError: the engine is away, or refuses.
        """
        found = [item["Id"] for item in self._containers([BRANCH, f"{PROJECT}={project}"])]
        return [_observed(self.engine.ask("GET", f"/containers/{each}/json")) for each in found]

    def start(self, project: str, service: str) -> bool:
        """Start a service that is stopped; return False if there is none to start.

        Raises:
            EngineError: the engine is away, or refuses.
        """
        for each in self.services(project):
            if each.service == service and each.state in STOPPED:
                self.engine.ask("POST", f"/containers/{each.id}/start")
                return True
        return False

    def _containers(self, labels: Iterable[str]) -> list[Object]:
        query = {"all": True, "filters": {"label": list(labels)}}
        return [
            item
            for item in self.engine.ask("GET", "/containers/json", query)
            if item["Labels"].get(ONE_OFF) != "True"
            and not is_replacement(item["Names"][0].lstrip("/"))
        ]

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        """Return status and content of the answer to a request."""
        match path.strip("/").split("/"):
            case [""] if method == "GET":
                return 200, [asdict(each) for each in self.environments()]
            case [project] if method == "GET" and (own := self._find(project)):
                services = [asdict(each) for each in self.services(own.project)]
                return 200, {**asdict(own), "services": services}
            case [project, service] if method == "POST" and (own := self._find(project)):
                if not own.asleep:
                    return 403, {"message": "it does not sleep"}
                if self.start(own.project, service):
                    log.info("%s: started %s", own.project, service)
                return 200, {}
        return 404, {"message": "there is nothing of that kind"}

    def _find(self, project: str) -> Listed | None:
        return next((each for each in self.environments() if each.project == project), None)


def _is_asleep(project: str, volumes: Mapping[str, Object]) -> bool:
    try:
        latest = newest(volumes)
        return bool(latest and ComposeRecord.from_labels(volumes[latest]).asleep)
    except UnreadableError as error:
        log.warning("%s: %s", project, error.message)
        return False


def _observed(found: Object) -> ObservedContainer:
    state = found["State"]
    return ObservedContainer(
        id=found["Id"],
        name=found["Name"].lstrip("/"),
        service=found["Config"]["Labels"].get(SERVICE, ""),
        state=state["Status"],
        exit_status=state["ExitCode"],
        error=state["Error"] or ("out of memory" if state["OOMKilled"] else ""),
        restarts=found["RestartCount"],
        started_at=state["StartedAt"],
        health=(state.get("Health") or {}).get("Status", ""),
        health_output="",
    )


class GateServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Serves the gate by a socket.

    Args:
        path: where the socket is to be; one that is left from before is replaced.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: Path, gate: Gate) -> None:
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)
        # The folder is mounted by the waker alone, which has a user of its own.
        path.chmod(0o666)
        self.gate = gate


class _Handler(BaseHTTPRequestHandler):
    server: GateServer
    timeout = PATIENCE_SECONDS

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Answer all methods alike: the base class looks for `do_GET` and the like."""
        if name.startswith("do_"):
            return self._respond
        raise AttributeError(name)

    def address_string(self) -> str:
        """Return nothing: who asks by a socket has no address."""
        return ""

    def log_message(self, *_: object) -> None:
        """Log no requests: what is started is logged."""

    def _respond(self) -> None:
        try:
            status, said = self.server.gate.answer(self.command, self.path)
        except EngineError as error:
            log.warning("%s %s: %s", self.command, self.path, error)
            status, said = 502, {"message": str(error)}
        body = json.dumps(said).encode()
        self.send_response(HTTPStatus(status))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
