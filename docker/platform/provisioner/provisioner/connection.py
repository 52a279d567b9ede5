"""Connections to the API server.

Its certificate is verified, but its authority's is not held to the form of RFC 5280: since Python
3.13 the default is ssl.VERIFY_X509_STRICT, which refuses an authority without key identifiers, as
EKS' are (github.com/kubernetes-client/python, issue 2394).
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, fields
from typing import Any

import kopf
from kubernetes.client import ApiClient


@dataclass(frozen=True, kw_only=True)
class Connection(kopf.ConnectionInfo):
    """What kopf connects by."""

    def as_ssl_context(self) -> ssl.SSLContext:
        """Return the context of its connections."""
        context = super().as_ssl_context()
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def log_in(**given: Any) -> Connection | None:
    """Return kopf's connection, by the pod's account or a kubeconfig."""
    found = kopf.login_via_client(**given)
    if found is None:
        return None
    return Connection(**{each.name: getattr(found, each.name) for each in fields(found)})


def relax(client: ApiClient) -> ApiClient:
    """Give a client's connections a context of the same kind; return the client.

    The context is complete: urllib3 would load what a connection names into it for every
    connection anew, at which OpenSSL crashes when another thread reads it.
    """
    given, pool = client.configuration, client.rest_client.pool_manager.connection_pool_kw
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(given.ssl_ca_cert)
    if given.cert_file:
        context.load_cert_chain(given.cert_file, given.key_file)
    pool |= {"ssl_context": context, "ca_certs": None, "cert_file": None, "key_file": None}
    return client
