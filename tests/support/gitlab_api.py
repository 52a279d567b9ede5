"""A server that behaves like GitLab's API, version 4, for the requests of the suite.

Its notes and environments are in memory. It pages as GitLab does, knows roles, and fails as a test
says: 429 with Retry-After, 5xx, an answer that is lost after the work was done.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import Serving

TOKEN = "glpat-s3cretT0ken-of-the-bot"
BOT, SOMEBODY = 41, 7
"""The ids of the token's user, and of a person."""
PROJECT = 5
MERGE_REQUEST = 12
NOTES = rf"/api/v4/projects/{PROJECT}/merge_requests/{MERGE_REQUEST}/notes"
ENVIRONMENTS = f"/api/v4/projects/{PROJECT}/environments"
PROTECTED = f"/api/v4/projects/{PROJECT}/protected_environments"


@dataclass
class Fault:
    """One answer in place of the real one.

    Attributes:
        headers: those of the answer.
        does: whether the request is carried out all the same: its answer is lost.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    does: bool = False


class FakeGitlab(Serving):
    """One project with one merge request.

    Attributes:
        notes: the merge request's notes by id; each has the API's own form.
        environments: its environments by id.
        protected: names of protected environments; None where the edition has none.
        seen: method and path of every request, without its query.
        faults: answers in place of the next ones.
        before: called with method and path before a request is carried out.
        may: whether the token may write; a token of too low a role gets 403.
        commands: the quick actions that a note's body would have run.
    """

    def __init__(self) -> None:
        self.notes: dict[int, dict[str, Any]] = {}
        self.environments: dict[int, dict[str, Any]] = {}
        self.protected: list[str] | None = []
        self.seen: list[str] = []
        self.faults: list[Fault] = []
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.may = True
        self.commands: list[str] = []
        self._next = 100
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def api(self) -> str:
        """As in CI_API_V4_URL."""
        return f"http://127.0.0.1:{self._server.server_port}/api/v4"

    def variables(self) -> dict[str, str]:
        """Return the variables of a job of the merge request's pipeline."""
        return {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_JOB_ID": "1",
            "CI_JOB_URL": "https://gitlab.example.com/team/mautic/-/jobs/1",
            "CI_API_V4_URL": self.api,
            "CI_PROJECT_ID": str(PROJECT),
            "CI_MERGE_REQUEST_PROJECT_ID": str(PROJECT),
            "CI_MERGE_REQUEST_IID": str(MERGE_REQUEST),
            "GITLAB_NOTE_TOKEN": TOKEN,
        }

    def write(self, body: str, author: int = SOMEBODY) -> int:
        """Add a note, as by the web page; return its id."""
        with self._lock:
            self._next += 1
            number = self._next
            self.notes[number] = {"id": number, "body": body, "author": {"id": author}}
        # https://docs.gitlab.com/user/project/quick_actions/: a line of its own outside of code.
        self.commands += re.findall(r"^/\w+.*", body, re.MULTILINE)
        return number

    def stop(self, name: str, updated_at: str, tier: str = "development", **more: Any) -> int:
        """Add a stopped environment; return its id."""
        self._next += 1
        known = {"id": self._next, "name": name, "tier": tier, "state": "stopped"}
        self.environments[self._next] = {**known, "updated_at": updated_at, **more}
        return self._next

    def own(self) -> list[str]:
        """Return the bodies of the bot's notes."""
        return [one["body"] for one in self.notes.values() if one["author"]["id"] == BOT]

    # -- answers ----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Return status and content; lists are whole, the handler pages them."""
        if token != TOKEN:
            return 401, {"message": "401 Unauthorized"}
        if method != "GET" and not self.may:
            return 403, {"message": "403 Forbidden"}
        if method == "POST" and path == NOTES:
            return 201, self.notes[self.write(body["body"], BOT)]
        lists: dict[str, Any] = {
            "/api/v4/user": {"id": BOT, "username": "project_5_bot"},
            NOTES: list(self.notes.values()),
            ENVIRONMENTS: list(self.environments.values()),
        }
        if self.protected is not None:
            lists[PROTECTED] = [{"name": name} for name in self.protected]
        if path in lists:
            return 200, lists[path]
        return self._one(method, path, body)

    def _one(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        found = re.fullmatch(rf"({NOTES}|{ENVIRONMENTS})/(\d+)", path)
        known = self.notes if found and found[1] == NOTES else self.environments
        if not found or int(found[2]) not in known:
            return 404, {"message": "404 Not found"}
        number = int(found[2])
        if known is self.notes and known[number]["author"]["id"] != BOT:
            return 403, {"message": "403 Forbidden"}
        if method == "DELETE":
            if known is self.environments and known[number]["state"] != "stopped":
                return 403, {"message": "403 Forbidden - Environment must be stopped"}
            del known[number]
            return 204, None
        known[number]["body"] = body["body"]
        return 200, known[number]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gitlab = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                gitlab.before(self.command, parts.path)
                gitlab.seen.append(f"{self.command} {parts.path}")
                fault = gitlab.faults.pop(0) if gitlab.faults else None
                if fault and not fault.does:
                    return self._send(fault.status, {"message": "busy"}, fault.headers)
                token = self.headers.get("PRIVATE-TOKEN", "")
                status, content = gitlab.answer(self.command, parts.path, token, body)
                if fault:
                    return self._send(fault.status, {"message": "lost"}, fault.headers)
                headers = {}
                if isinstance(content, list):
                    query = {key: value[0] for key, value in parse_qs(parts.query).items()}
                    size, page = int(query.get("per_page", 20)), int(query.get("page", 1))
                    more = page * size < len(content)
                    headers["X-Next-Page"] = str(page + 1) if more else ""
                    content = content[(page - 1) * size : page * size]
                return self._send(status, content, headers)

            def do_POST(self) -> None:
                self.do_GET()

            def do_PUT(self) -> None:
                self.do_GET()

            def do_DELETE(self) -> None:
                self.do_GET()

            def _send(self, status: int, content: Any, headers: dict[str, str]) -> None:
                sent = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
