"""What a test's server on loopback does at the start and at the end of a block."""

from __future__ import annotations

import threading
from http.server import HTTPServer
from types import TracebackType
from typing import Self


class Serving:
    """Serves from the beginning of a ``with`` block to its end."""

    _server: HTTPServer

    def __enter__(self) -> Self:
        name = type(self).__name__
        threading.Thread(target=self._server.serve_forever, daemon=True, name=name).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
