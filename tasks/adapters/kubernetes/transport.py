"""Requests to a Kubernetes API, with authentication, timeouts and retries.

The client library is only used to read the kubeconfig and to authenticate.
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
from tasks.adapters.tls import SharedContext
from tasks.core.errors import ClusterError, ConflictError, reason_of
from tasks.core.kubernetes.objects import Object

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from websocket import WebSocket

PATIENCE_SECONDS = 30.0
"""How long a request is retried while the API is busy, failing or unreachable."""
TELL_SECONDS = 3.0
"""How long a request is retried silently."""
BUSY = frozenset({429, 500, 502, 503, 504})
"""Statuses of an API server, or of a load balancer in front of it, that are worth a retry."""
CONNECT_SECONDS = 10.0
"""How long a websocket connection may take to open."""
CONNECTIONS = 64
"""Size of the connection pool: a rollout has a watch per kind and follows many logs."""
NOT_READY = "not yet ready to handle request"
"""In a 403: the admission plugins of an API server that has just started are not synced yet
(k8s.io/apiserver, pkg/admission)."""
CONTENDED = "cannot be fulfilled on resourcequotas"
"""In a 409: the quota's count has changed while the API server added an object to it. The object is
neither made nor there (k8s.io/apiserver, pkg/admission/plugin/resourcequota)."""
WORDS_LENGTH = 300
"""How much of a foreign response is shown."""
WATCH_SECONDS = 30
"""Timeout of one watch request, after which it is opened again: the longest delay that a silently
broken connection can cause."""


@dataclass(frozen=True)
class ApiRequest:
    """One request.

    Attributes:
        path: the path below the API's address.
        body: an object to send as JSON.
        content_type: the body's type; patches have their own.
        timeout: seconds to connect and to read, per attempt.
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
    """The API's response to one attempt, with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stop(threading.Event):
    """An event that ends watches: setting it also wakes those that are blocked in a read."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._streams: list[Any] = []

    def set(self) -> None:
        """End the watches."""
        with self._lock:
            super().set()
            for stream in self._streams:
                # The stream may have ended by itself.
                with contextlib.suppress(RuntimeError, ValueError, OSError):
                    stream.shutdown()

    @contextlib.contextmanager
    def ends(self, stream: Any) -> Iterator[None]:
        """Shut a response's stream down as well when this is set."""
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
        patience: seconds for which requests to a busy, failing or unreachable API are retried.
        log_in: returns a client, instead of one from the kubeconfig.
        say: called with a message once per outage of the API.

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
        """Return the time by the API server's clock, from the last response's date."""
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
            ClusterError: the API refused, stayed busy or unreachable beyond the patience, or
                another server answered in its place.
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
        """Yield the lines of a streamed response until it ends, breaks off, or is stopped.

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
                    # A container's output need not be UTF-8.
                    yield from (line.decode(errors="replace") for line in lines if line)
            except (HTTPError, OSError):
                return  # treated like an end: a watch continues where it was
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
        """Return the response to one attempt, whatever its status.

        Raises:
            ClusterError: there was no response, or it broke off.
        """
        from urllib3.exceptions import HTTPError

        stream = self._open(request)
        try:
            return ApiAnswer(stream.status, stream.headers, stream.read() or b"")
        except (HTTPError, OSError) as error:
            raise self._unreachable(error) from error

    def _open(self, request: ApiRequest) -> Any:
        """Return the response to one attempt, with its body unread."""
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
            # The header is truncated to seconds, so the largest difference is the most exact.
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
        """Return a successful response; retry while the API is busy, failing or unreachable.

        Permanent errors are raised at once.
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
                passing = any(words in error.message for words in (NOT_READY, CONTENDED))
                if error.status not in BUSY and not passing:
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
        """Reload the credentials: run an exec plugin again, read a token file again."""
        with self._login:
            if self._client is refused:  # no other thread has done it by now
                self._client = self._connect()

    def _connect(self) -> ApiClient:
        from urllib3.util.retry import Retry

        client = self._new_client()
        # `_insist` retries, limited by time and not by count.
        pool = client.rest_client.pool_manager.connection_pool_kw
        pool |= {"retries": Retry(0, read=False), "maxsize": CONNECTIONS}
        if client.configuration.verify_ssl:
            pool["ssl_context"] = context = SharedContext()
            if not client.configuration.ssl_ca_cert:
                context.load_default_certs()
        return client


def refusal(request: ApiRequest, answer: ApiAnswer | Any) -> ClusterError:
    """Return the error for an unsuccessful response."""
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
    """Return a JSON object, or None if the text is not one."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
