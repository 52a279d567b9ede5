"""Trusts the same certificate authorities for a registry as docker does."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.tls import SharedContext
from tasks.core.errors import SettingsError, reason_of

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep the authorities they trust (Go, crypto/x509/root_linux.go). The OpenSSL of a
Python that did not come with the system may look elsewhere."""
CERTS = Path("/etc/docker/certs.d")


def adapter(host: str, **options: Any) -> HTTPAdapter:
    """Return the HTTP adapter for a registry that is reached by TLS.

    It trusts the system's authorities, or those of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``; those
    that requests trusts; and those of docker's ``certs.d`` for this registry.

    Args:
        host: the registry's host, and port if it has one.
        options: as of ``requests.adapters.HTTPAdapter``.

    Raises:
        SettingsError: a certificate of ``certs.d`` cannot be read.
    """
    from requests.adapters import HTTPAdapter

    context = _context(host)

    class Trusting(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **more: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **more)

        def proxy_manager_for(self, *args: Any, **more: Any) -> Any:
            return super().proxy_manager_for(*args, ssl_context=context, **more)

    return Trusting(**options)


def _context(host: str) -> SharedContext:
    context = SharedContext()
    context.load_default_certs()
    if not os.environ.get("SSL_CERT_FILE"):
        default = ssl.get_default_verify_paths().cafile
        for path in SYSTEM:
            if Path(path).is_file():
                if not default or not Path(default).samefile(path):
                    context.load_verify_locations(path)
                break
    for folder in _folders(host):
        try:
            for signer in folder.glob("*.crt"):
                context.load_verify_locations(signer)
            for own in folder.glob("*.cert"):
                context.load_cert_chain(own, own.with_suffix(".key"))
        except OSError as error:  # ssl.SSLError is one
            raise SettingsError(
                f"a certificate in {folder} cannot be read: {reason_of(error)}",
                hint="docker trusts what is there for this registry: mend or remove it",
            ) from error
    return context


def _folders(host: str) -> Iterator[Path]:
    """Yield docker's folders for a registry: the daemon's, and that of a rootless one."""
    own = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    yield CERTS / host
    yield Path(own) / "docker" / "certs.d" / host
