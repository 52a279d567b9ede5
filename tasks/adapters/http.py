"""Requests to a site by its address, whatever its host name."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.adapters.tls import SharedContext
from tasks.core.errors import SuiteError

READ_MAX_BYTES = 4 * 1024 * 1024
"""No page or stylesheet that a smoke test looks at is larger."""


@dataclass(frozen=True)
class Response:
    """An HTTP response; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


class SiteClient:
    """Requests pages of one site by its address; its name need not resolve on this machine.

    Args:
        address: the IP address to connect to.
        port: its port.
        host: the value of the Host header, with the port where it is not 80.
        tls: by TLS, with the host's certificate checked; the host is then without a port.
    """

    def __init__(self, address: str, port: int, host: str, *, tls: bool = False) -> None:
        self._address = "127.0.0.1" if address == "0.0.0.0" else address  # noqa: S104
        self._port = port
        self._host = host
        self._tls = tls

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, *, timeout_seconds: float = 30
    ) -> Response:
        """Ask for a path, without following redirects.

        Args:
            headers: more of them.

        Raises:
            SuiteError: there was no response.
        """
        connection = http.client.HTTPConnection(self._address, self._port, timeout=timeout_seconds)
        try:
            if self._tls:
                # Asks the address, and checks the certificate of the host.
                plain = socket.create_connection((self._address, self._port), timeout_seconds)
                context = SharedContext()
                context.load_default_certs()
                connection.sock = context.wrap_socket(plain, server_hostname=self._host)
            own = {"Host": self._host, "Accept": "*/*"}
            connection.request("GET", path, headers={**own, **(headers or {})})
            answer = connection.getresponse()
            body = answer.read(READ_MAX_BYTES).decode(errors="replace")
            given = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, given, body)
        except (OSError, http.client.HTTPException) as error:
            scheme = "https" if self._tls else "http"
            message = f"{scheme}://{self._host}{path} does not answer: {error}"
            raise SuiteError(message) from error
        finally:
            connection.close()
