"""Requests to a Kubernetes API: authenticated, timed, tried again within a patience.

The client library does what it is best at, reading a kubeconfig and authenticating.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from tasks.adapters.connection_errors import causes, is_permanent, retry
from tasks.adapters.kubernetes.kubeconfig import client_from_kubeconfig
from tasks.core.errors import ClusterError, ConflictError, reason_of
from tasks.core.kubernetes.objects import Object

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from websocket import WebSocket

PATIENCE_SECONDS = 30.0
"""How long a request is tried again while the API is busy, failing or away."""
TELL_SECONDS = 3.0
"""After how long that is told."""
BUSY = frozenset({429, 500, 502, 503, 504})
"""What an API server, or a load balancer before it, answers when it may do better soon."""
CONNECT_SECONDS = 10.0
"""How long a websocket connection may take to open."""
CONNECTIONS = 64
"""How many connections are kept open: a rollout has a watch per kind and follows many logs."""
NOT_READY = "not yet ready to handle request"
"""With 403: the admission of an API server that has just started does not know its objects yet
(k8s.io/apiserver, pkg/admission)."""
WORDS_LENGTH = 300
"""How much is told of an answer that is not the API's own."""
WATCH_SECONDS = 30
"""How long the API serves one watch before it is opened anew: what a connection that died
silently may cost."""


@dataclass(frozen=True)
class ApiRequest:
    """One request.

    Attributes:
        method: the HTTP method.
        path: the path below the API's address.
        query: the query's parameters.
        body: an object to send as JSON.
        content_type: of the body; patches have types of their own.
        headers: more headers.
        timeout: seconds to connect and to read, of one attempt.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: tuple[float, float] = (5.0, 30.0)


@dataclass(frozen=True)
class ApiAnswer:
    """What the API answered to one attempt.

    Attributes:
        status: the HTTP status.
        headers: its headers.
        body: its whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stop(threading.Event):
    """Ends watches: setting it also wakes those that wait for the API to say more."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._streams: list[Any] = []

    def set(self) -> None:
        """End the watches."""
        with self._lock:
            super().set()
            for stream in self._streams:
                # One that has come to its end by itself needs no waking.
                with contextlib.suppress(RuntimeError, ValueError, OSError):
                    stream.shutdown()

    @contextlib.contextmanager
    def ends(self, stream: Any) -> Iterator[None]:
        """Let the stop also end a response's stream."""
        with self._lock:
            self._streams.append(stream)
        try:
            yield
        finally:
            with self._lock:
                self._streams.remove(stream)


class Transport:
    """Speaks to one API server.

    Args:
        context: a kubeconfig's context; None takes the current one.
        kubeconfig: path of the kubeconfig; None takes KUBECONFIG or the user's own.
        patience: seconds during which a busy, failing or absent API is tried again.
        log_in: returns a client, in place of one by the kubeconfig.
        say: told, once for each time, that the API is waited for.

    Raises:
        ClusterError: the kubeconfig cannot be read, does not hold the context, or gives it no
            credentials.
    """

    def __init__(
        self,
        context: str | None,
        kubeconfig: str | None,
        patience: float,
        log_in: Callable[[], ApiClient] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._say = say
        self._told = False
        self._new_client = log_in or functools.partial(client_from_kubeconfig, context, kubeconfig)
        self._client = self._connect()
        self._login = threading.Lock()
        self._patience = patience
        self._skew = float("-inf")

    def now(self) -> datetime:
        """Return the time by the API server's clock, as its last answer told it."""
        skew = self._skew if self._is_known else 0.0
        return datetime.fromtimestamp(time.time() + skew, UTC)

    @property
    def _is_known(self) -> bool:
        """Whether the API has answered before."""
        return math.isfinite(self._skew)

    def json(self, request: ApiRequest) -> Object:
        """Return the object that answers a request.

        Raises:
            ConflictError: the object was changed, or made, by somebody else.
            ClusterError: the API refused, stayed busy or away beyond the patience, or something
                else answered in its place.
        """
        answer = self.body(request)
        found = _json_of(answer) if answer else {}
        if found is None:
            words = answer.decode(errors="replace").strip()[:WORDS_LENGTH]
            raise ClusterError(
                f"{request.method} {request.path}: the answer is no JSON: {words}",
                hint="something else answers in the API server's place, a proxy's login page for "
                "example: check the context and the network",
            )
        return found

    def body(self, request: ApiRequest) -> bytes:
        """Return the bytes that answer a request; errors as for ``json``."""
        answer: ApiAnswer = self._insist(request, self.attempt)
        return answer.body

    def lines(self, request: ApiRequest, stop: Stop) -> Iterator[str]:
        """Yield the lines of a streamed answer until it ends, breaks off, or is stopped.

        Raises:
            ClusterError: as for ``json``, before the first line.
        """
        from urllib3.exceptions import HTTPError

        stream = self._insist(request, self._open)
        rest = b""
        with stop.ends(stream):
            try:
                while not stop.is_set():
                    chunk = stream.read1(65536)
                    if not chunk:
                        return
                    *lines, rest = (rest + chunk).split(b"\n")
                    # A container may write anything, also what is no UTF-8.
                    yield from (line.decode(errors="replace") for line in lines if line)
            except (HTTPError, OSError):
                return  # like an end: a watch asks again from where it was
            finally:
                stream.close()

    def websocket(self, path: str, query: Sequence[tuple[str, str]]) -> WebSocket:
        """Return an open websocket connection.

        Raises:
            ClusterError: the API refused it, or could not be reached.
        """
        import websocket
        from kubernetes.stream.ws_client import create_websocket

        websocket.setdefaulttimeout(CONNECT_SECONDS)
        logged_in = False
        while True:
            client = self._client
            configuration = client.configuration
            address = re.sub("^http", "ws", configuration.host) + f"{path}?{urlencode(query)}"
            auth = configuration.auth_settings().get("BearerToken")
            headers = {"authorization": auth["value"]} if auth and auth["value"] else {}
            try:
                opened = create_websocket(  # type: ignore[no-untyped-call]
                    configuration, address, headers
                )
            except websocket.WebSocketBadStatusException as error:
                if error.status_code == 401 and not logged_in:
                    self._log_in_again(client)
                    logged_in = True
                    continue
                kind = {"Content-Type": (error.resp_headers or {}).get("content-type", "")}
                answer = ApiAnswer(error.status_code, kind, error.resp_body or b"")
                raise refusal(ApiRequest("GET", path), answer) from error
            except (websocket.WebSocketException, OSError) as error:
                raise self._unreachable(error) from error
            # A person in a shell may think for as long as they like.
            opened.settimeout(None)
            return cast("WebSocket", opened)

    def attempt(self, request: ApiRequest) -> ApiAnswer:
        """Return the answer to one attempt, whatever its status.

        Raises:
            ClusterError: there was no answer, or it broke off.
        """
        from urllib3.exceptions import HTTPError

        stream = self._open(request)
        try:
            return ApiAnswer(stream.status, stream.headers, stream.read() or b"")
        except (HTTPError, OSError) as error:
            raise self._unreachable(error) from error

    def _open(self, request: ApiRequest) -> Any:
        """Return the response to one attempt, its body yet to be read."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        configuration = self._client.configuration
        query = f"?{urlencode(request.query)}" if request.query else ""
        headers = {"Accept": "application/json", **request.headers}
        auth = configuration.auth_settings().get("BearerToken")
        if auth and auth["value"]:
            headers["authorization"] = auth["value"]
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        try:
            response = self._client.rest_client.request(  # type: ignore[no-untyped-call]
                request.method,
                configuration.host + request.path + query,
                headers=headers,
                body=request.body,
                _request_timeout=request.timeout,
            )
        except (HTTPError, OSError, ApiException) as error:  # the last one for TLS alone
            raise self._unreachable(error) from error
        with contextlib.suppress(ValueError):  # no date, or no valid one, tells no time
            date = parsedate_to_datetime(response.headers.get("Date") or "")
            # The header is cut to whole seconds: the largest difference seen is the nearest.
            self._skew = max(self._skew, date.timestamp() - time.time())
        return response.response

    def _unreachable(self, error: Exception) -> ClusterError:
        hint = "check the context, the network and the cluster, then run the same again"
        if any(isinstance(each, ssl.SSLCertVerificationError) for each in causes(error)):
            hint = (
                "`server` of the kubeconfig's cluster must be an address that the certificate is "
                "for, and `certificate-authority` the one that signed it"
            )
        return ClusterError(
            f"the Kubernetes API at {self._client.configuration.host} cannot be reached: "
            f"{reason_of(error)}",
            hint=hint,
        )

    def _insist(self, request: ApiRequest, attempt: Callable[[ApiRequest], Any]) -> Any:
        """Return a successful answer, tried again while the API is busy, failing or away.

        What cannot heal is told at once.
        """
        began = time.monotonic()
        deadline = began + self._patience
        pause = 0.2
        logged_in = repeated = False
        while True:
            client = self._client
            try:
                answer = attempt(request)
            except ClusterError as unreachable:
                error = unreachable
                if error.__cause__ and is_permanent(error.__cause__, known=self._is_known):
                    raise
            else:
                if answer.status < 400:
                    self._told = False
                    return answer
                error = refusal(request, answer)
                if error.status == 401 and not logged_in:
                    self._log_in_again(client)
                    logged_in = True
                    continue
                if isinstance(error, ConflictError):
                    error.repeated = repeated
                if error.status not in BUSY and NOT_READY not in error.message:
                    raise error
                asked = retry().parse_retry_after(answer.headers.get("Retry-After") or "0")
                pause = max(pause, asked)
            repeated = True
            if time.monotonic() + pause > deadline:
                raise error
            if self._say and not self._told and time.monotonic() - began > TELL_SECONDS:
                self._told = True
                self._say(f"trying again for {deadline - time.monotonic():.0f} s: {error.message}")
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _log_in_again(self, refused: ApiClient) -> None:
        """Read the credentials anew; an exec plugin is run again, a token's file read again."""
        with self._login:
            if self._client is refused:  # no other thread has done it by now
                self._client = self._connect()

    def _connect(self) -> ApiClient:
        from urllib3.util.retry import Retry

        client = self._new_client()
        # Attempts are repeated here, bounded by a patience and not by a count.
        pool = client.rest_client.pool_manager.connection_pool_kw
        pool |= {"retries": Retry(0, read=False), "maxsize": CONNECTIONS}
        return client


def refusal(request: ApiRequest, answer: ApiAnswer | Any) -> ClusterError:
    """Return the error for an answer that is none of success."""
    raw = (answer.body if isinstance(answer, ApiAnswer) else answer.read()).decode(errors="replace")
    status = _json_of(raw) or {}
    message, reason = status.get("message", raw.strip()[:WORDS_LENGTH]), status.get("reason", "")
    kind = ConflictError if answer.status == 409 else ClusterError
    hint = {
        401: "the credentials have expired or are wrong: log in to the cluster again",
        403: "this user may not do that: ask whoever administers the cluster",
    }.get(answer.status)
    return kind(
        f"{request.method} {request.path}: {answer.status} {message}".rstrip(),
        status=answer.status,
        reason=reason,
        hint=hint,
    )


def _json_of(text: str | bytes) -> Object | None:
    """Return the object that a text is in JSON, or None when it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
