"""A branch's Secret: its passwords are generated once, and kept out of everything shown."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.kubernetes.manifests import SECRET, secret
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.flows.target import new_secrets


def read_secret(cluster: Cluster, names: Names, redactor: Redactor) -> dict[str, str]:
    """Return the branch's secrets, and mask them from now on.

    Args:
        redactor: gets every value.
    """
    found = cluster.get("Secret", SECRET, names.namespace)
    data = (found or {}).get("data") or {}
    values = {key: base64.b64decode(value).decode() for key, value in data.items()}
    for value in values.values():
        redactor.add(value)
    return values


def missing_keys(cluster: Cluster, names: Names, redactor: Redactor) -> tuple[str, ...]:
    """Return the keys that have yet to be generated; arguments as for ``read_secret``."""
    there = read_secret(cluster, names, redactor)
    return tuple(key for key in new_secrets() if key not in there)


def make_secret(
    cluster: Cluster, names: Names, redactor: Redactor, missing: Sequence[str]
) -> dict[str, str]:
    """Generate what is not there yet, and return all; what is there stays as it is.

    Args:
        redactor: gets every value.
        missing: the keys to generate.
    """
    made = {key: value for key, value in new_secrets().items() if key in missing}
    for value in made.values():
        redactor.add(value)
    values = {**read_secret(cluster, names, redactor), **made}
    if made:
        cluster.apply(secret(names, values))
    return values


def secret_version(cluster: Cluster, names: Names) -> str:
    """Return the Secret's version, at which pods restart when it changes; empty without one."""
    found = cluster.get("Secret", SECRET, names.namespace) or {}
    return str(found.get("metadata", {}).get("resourceVersion", ""))
