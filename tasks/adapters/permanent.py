"""Which errors of a connection no later attempt would be spared.

A certificate that does not fit, a name that nobody knows, a proxy that refuses and a file of
credentials that is not there are told at once; whatever may heal is tried again by the caller.
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
"""Of a resolver that has answered; one that has not says EAI_AGAIN."""

_TLS = re.compile(
    "CERT|VERSION|PROTOCOL|HANDSHAKE_FAILURE|UNKNOWN_CA|HTTP_REQUEST|UNRECOGNIZED_NAME"
    "|ACCESS_DENIED|CIPHER|PEM|KEY_VALUES"
)
"""OpenSSL's reasons for which both ends are as they are (its include/openssl/sslerr.h)."""

_PROXY = re.compile(r"Tunnel connection failed: 40[137]\b")
"""http.client's words for a proxy that lets nobody, or not this user, through."""


def is_permanent(error: BaseException, *, known: bool = False) -> bool:
    """Return True if trying again cannot help.

    Args:
        error: what a library raised.
        known: whether the server has answered before. Then its name is right, and a resolver that
            does not know it just now may know it again.
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
    """Yield an error and all that led to it, the outermost first."""
    seen: set[int] = set()
    todo: list[Any] = [error]
    while todo:
        each = todo.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        # Carried along: as `reason` (urllib3), argument (requests), or by name (botocore).
        carried = getattr(each, "kwargs", None)
        todo += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args[:1]]
        todo += carried.values() if isinstance(carried, dict) else ()


def retry(**options: Any) -> Retry:
    """Return urllib3's policy of trying again, which also knows when that cannot help.

    A ``Retry-After`` that is neither a number of seconds nor a date asks for no pause.

    Args:
        options: as of ``urllib3.util.Retry``.
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
