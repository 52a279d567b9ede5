"""TLS contexts that threads may share."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import Any


class SharedContext(ssl.SSLContext):
    """Verifies servers; each authority and each certificate is loaded into it once.

    urllib3 loads a connection's authorities and its certificate into the context it was given, for
    every connection anew. OpenSSL crashes, hangs, or refuses a good certificate when it does so
    while another thread's handshake reads the same context.

    Unlike ``ssl.create_default_context``, it takes authorities without key identifiers, as many of
    EKS' are (github.com/kubernetes-client/python, issue 2394).
    """

    def __new__(cls) -> SharedContext:
        """Return a context of clients."""
        return super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._loaded: set[tuple[Any, ...]] = set()

    def load_verify_locations(self, *args: Any, **named: Any) -> None:
        """Load authorities, as the base class does, unless they are loaded."""
        self._load(super().load_verify_locations, *args, **named)

    def load_cert_chain(self, *args: Any, **named: Any) -> None:
        """Load the client's certificate, as the base class does, unless it is loaded."""
        self._load(super().load_cert_chain, *args, **named)

    def _load(self, load: Callable[..., None], *args: Any, **named: Any) -> None:
        with self._loading:
            given = (load.__name__, *args, *named.items())
            if given not in self._loaded:
                load(*args, **named)
                self._loaded.add(given)
