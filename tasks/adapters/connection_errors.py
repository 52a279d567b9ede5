"""Tells permanent connection errors from those worth a retry.

A wrong certificate, an unknown host name, a proxy that refuses and a missing credentials file are
reported at once; the caller retries everything else.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse
    from urllib3.connectionpool import ConnectionPool
    from urllib3.util.retry import Retry

_UNKNOWN_NAME = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)
)
"""The resolver's answers for an unknown name; EAI_AGAIN means that it did not answer."""

_TLS = re.compile(
    "CERT|VERSION|PROTOCOL|HANDSHAKE_FAILURE|UNKNOWN_CA|HTTP_REQUEST|UNRECOGNIZED_NAME"
    "|ACCESS_DENIED|CIPHER|PEM|KEY_VALUES"
)
"""OpenSSL's reasons that a retry does not change (its include/openssl/sslerr.h)."""

_PROXY = re.compile(r"Tunnel connection failed: 40[137]\b")
"""http.client's message when a proxy refuses the connection or the user."""


def is_permanent(error: BaseException, *, known: bool = False) -> bool:
    """Return True if trying again cannot help.

    Args:
        error: what a library raised.
        known: whether the server has answered before. Then its name is right, and a failing lookup
            is temporary.
    """
    for each in causes(error):
        if isinstance(each, ssl.SSLError):
            return bool(_TLS.search(str(each)))
        if isinstance(each, socket.gaierror):
            return not known and each.errno in _UNKNOWN_NAME
        if isinstance(each, (FileNotFoundError, PermissionError, IsADirectoryError)):
            return True
        if isinstance(each, OSError) and _PROXY.search(str(each)):
            return True
    return False


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, the outermost first."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        each = todo.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        # Libraries keep the cause as `reason` (urllib3), argument (requests) or keyword (botocore).
        carried = getattr(each, "kwargs", None)
        todo += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args[:1]]
        todo += carried.values() if isinstance(carried, dict) else ()


def retry(**options: Any) -> Retry:
    """Return urllib3's retry policy, extended to stop at permanent errors.

    A ``Retry-After`` that is neither a number of seconds nor a date is ignored.

    Args:
        options: those of ``urllib3.util.Retry``.
    """
    from urllib3.exceptions import InvalidHeader, MaxRetryError
    from urllib3.util.retry import Retry

    class Hopeful(Retry):
        def increment(
            self,
            method: str | None = None,
            url: str | None = None,
            response: BaseHTTPResponse | None = None,
            error: Exception | None = None,
            _pool: ConnectionPool | None = None,
            _stacktrace: TracebackType | None = None,
        ) -> Self:
            if error is not None and _pool is not None and is_permanent(error):
                raise MaxRetryError(_pool, url or "", error) from error
            return super().increment(method, url, response, error, _pool, _stacktrace)

        def parse_retry_after(self, retry_after: str) -> float:
            try:
                return super().parse_retry_after(retry_after)
            except InvalidHeader:
                return 0.0

    return Hopeful(**options)
