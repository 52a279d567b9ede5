"""Asks the Docker Engine's API what it answers at once.

Where the engine has a socket of this machine, without the library, which takes longer to import
than the engine to answer; elsewhere (by TCP, with TLS) by the library's own connection.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from tasks.adapters.docker.connection import (
    connect,
    engine_errors,
    late,
    plain_socket,
    refused,
    unreachable,
)
from tasks.adapters.registry.docker_login import read_config
from tasks.core.errors import EngineError

_FIRST = re.compile(r"HTTP/1\.[01] ([0-9]{3})(?: .*)?")
_IS_JSON = {"Content-Type": "application/json"}
_DONE = range(200, 300)
"""The statuses of answers that are no refusal, no failure and no redirection."""
_CHUNK_BYTES = 1 << 16
_MISSING = (404,)


@dataclass(frozen=True)
class EngineAnswer:
    """What the engine answers to a request; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def reason(self) -> str:
        """Why it refuses."""
        try:
            return str(json.loads(self.content)["message"])
        except (ValueError, KeyError, TypeError):
            return self.content.decode(errors="replace").strip() or f"status {self.status}"


_Send = Callable[[str, str, str, Mapping[str, str], bytes], EngineAnswer]
"""Takes the operation in words, then method, path, headers and body."""


class EngineApi:
    """The API of the engine that the ``docker`` command uses.

    Args:
        timeout_seconds: how long the engine may say nothing.
    """

    def __init__(self, timeout_seconds: int) -> None:
        self._timeout_seconds = timeout_seconds

    def ask(
        self,
        what: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        method: str = "GET",
        body: Mapping[str, Any] | None = None,
        accept: Collection[int] = (),
    ) -> EngineAnswer:
        """Send a request, and return its answer.

        Args:
            what: the operation, e.g. ``listing containers``.
            path: without the API's version.
            query: numbers and texts; all else is sent as JSON.
            body: sent as JSON.
            accept: statuses of refusals that are no errors.

        Raises:
            EngineError: the engine cannot be reached, refused or failed.
            SettingsError: the user's Docker configuration cannot be read.
        """
        words = {
            key: value if isinstance(value, str | int) else json.dumps(value)
            for key, value in (query or {}).items()
        }
        whole = f"{self._base}{path}{'?' if words else ''}{urlencode(words)}"
        content = b"" if body is None else json.dumps(body).encode()
        headers = self._headers | _IS_JSON if content else self._headers
        answer = self._send(what, method, whole, headers, content)
        if answer.status in _DONE or answer.status in accept:
            return answer
        raise refused(what, answer.reason)

    def read(self, what: str, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return what the engine says; arguments and errors as for ``ask``."""
        return _content(what, self.ask(what, path, query))

    def find(self, what: str, path: str) -> Any:
        """Return what the engine says of something, or None if it is gone; as for ``ask``."""
        answer = self.ask(what, path, accept=_MISSING)
        return None if answer.status in _MISSING else _content(what, answer)

    def remove(self, what: str, path: str) -> None:
        """Remove something; do nothing if it is gone. Arguments and errors as for ``ask``."""
        self.ask(what, path, method="DELETE", accept=_MISSING)

    @cached_property
    def _headers(self) -> dict[str, str]:
        """The headers that the user's configuration adds to every request."""
        return {**(read_config().get("HttpHeaders") or {})}

    @cached_property
    def _base(self) -> str:
        """What paths begin with: the newest version of the API that the engine has."""
        what = "asking for its version"
        found = self._send(what, "GET", "/_ping", self._headers, b"")
        if found.status not in _DONE:
            raise refused(what, found.reason)
        version = found.headers.get("api-version", "")
        return f"/v{version}" if version else ""

    @cached_property
    def _send(self) -> _Send:
        place = plain_socket()
        if place is None:
            return _by_library(self._timeout_seconds)
        return _by_socket(place, self._timeout_seconds)


def _by_socket(place: str, timeout_seconds: int) -> _Send:
    """Return what sends requests to a socket of this machine.

    By HTTP/1.0, where the answer is in one piece and ends with the connection: ``http.client``
    brings parsers of e-mail and TLS along, and takes longer to import than the engine to answer. Of
    what has no length, only JSON shows that it was cut off: all else goes by the library.
    """

    def send(
        what: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> EngineAnswer:
        sent = {"Host": "localhost", "Content-Length": str(len(body)), **headers}
        lines = (f"{method} {path} HTTP/1.0", *(f"{name}: {sent[name]}" for name in sent), "", "")
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout_seconds)
                connection.connect(place)
                connection.sendall("\r\n".join(lines).encode() + body)
                told = b"".join(iter(lambda: connection.recv(_CHUNK_BYTES), b""))
            return _parsed(told)
        except TimeoutError as error:
            raise late(what) from error
        except OSError as error:
            raise unreachable(error) from error

    return send


def _parsed(told: bytes) -> EngineAnswer:
    """Return the answer that a server has sent whole; ConnectionError if that is none."""
    if not told:
        raise ConnectionError("it closed the connection without an answer")
    head, _, content = told.partition(b"\r\n\r\n")
    first, *fields = head.decode("latin-1").split("\r\n")
    found = _FIRST.fullmatch(first)
    if not found:
        raise ConnectionError("it does not speak HTTP")
    answer = _answer(int(found[1]), map(_field, fields), content)
    if answer.headers.get("content-length", str(len(content))) != str(len(content)):
        raise ConnectionError("its answer was cut off")
    return answer


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name, value.strip()


def _by_library(timeout_seconds: int) -> _Send:
    """Return what sends requests to an engine that the library finds, by TCP or with TLS."""
    api = connect(timeout_seconds)

    def send(
        what: str, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> EngineAnswer:
        with engine_errors(what):
            found = api.request(
                method, f"{api.base_url}{path}", data=body, headers=headers, timeout=timeout_seconds
            )
        return _answer(found.status_code, found.headers.items(), found.content)

    return send


def _content(what: str, answer: EngineAnswer) -> Any:
    """Return what an answer holds; EngineError if that cannot be read."""
    try:
        found = json.loads(answer.content)
    except ValueError as error:
        raise EngineError(f"{what} failed: {error}") from error
    if found is None:
        raise EngineError(f"{what} failed: the Docker Engine said nothing")
    return found


def _answer(status: int, headers: Iterable[tuple[str, str]], content: bytes) -> EngineAnswer:
    return EngineAnswer(status, {name.lower(): value for name, value in headers}, content)
