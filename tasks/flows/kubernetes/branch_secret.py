"""A branch's Secret: its passwords are generated once, and kept out of everything shown."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Revision
from tasks.core import door
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.manifests import SECRET, decoded, secret
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.names import Names
from tasks.core.redact import Redactor
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.target import new_secrets

REDIS_KEY = "redis_password"
"""The key that `redis.passwordKey` of the values files may name."""


def read_secret(cluster: Cluster, names: Names, redactor: Redactor) -> dict[str, str]:
    """Return the branch's secrets, and mask them from now on.

    Args:
        redactor: gets every value.
    """
    values = decoded(cluster.get("Secret", SECRET, names.namespace))
    for value in values.values():
        redactor.add(value)
    return values


def missing_keys(
    cluster: Cluster, names: Names, redactor: Redactor, *, kept: Collection[str]
) -> tuple[str, ...]:
    """Return the keys that have yet to be generated.

    Args:
        redactor: told every value.
        kept: the keys that must be there, by ``keys_in_use``.

    Raises:
        SuiteError: one of those is gone.
    """
    there = read_secret(cluster, names, redactor)
    missing = tuple(key for key in new_branch_secrets() if not there.get(key))
    lost = [key for key in missing if key in kept]
    if lost:
        raise SuiteError(
            f"the secrets of {names.branch} are gone (secret {SECRET} in {names.namespace}: "
            f"{', '.join(lost)}), and new ones open neither its database nor what Mautic has "
            "encrypted in it",
            hint="restore them from a backup or from pods that run still (docs/troubleshooting.md, "
            f'"The secrets are gone"); or start over: inv cleanup {names.options}',
        )
    return missing


def keys_in_use(
    record: ClusterRecord | None, history: Sequence[Revision], *, has_server: bool
) -> tuple[str, ...]:
    """Return the keys of the branch's Secret that no new value can take the place of.

    Mautic encrypts the credentials it stores by ``secret_key``. A user on a database server is
    given a new password there; the release's own database keeps those of its first start.

    Args:
        record: what is known of the environment.
        history: the revisions of its release.
        has_server: whether the branch's database lives on a server of its own.
    """
    if not history and not (record and record.current):
        return ()
    return ("secret_key",) if has_server else ("secret_key", "db_password", "db_root_password")


def make_secret(
    cluster: Cluster,
    names: Names,
    redactor: Redactor,
    missing: Sequence[str],
    given: Mapping[str, str],
) -> dict[str, str]:
    """Generate what is not there yet, and return all; what is there stays as it is.

    Args:
        redactor: gets every value.
        missing: the keys to generate.
        given: values that somebody else decides, by key.
    """
    made = {key: value for key, value in new_branch_secrets().items() if key in missing}
    for value in made.values():
        redactor.add(value)
    values = {**read_secret(cluster, names, redactor), **made, **given}
    if made or given:
        cluster.apply(secret(names, values))
    return values


def door_password(context: ClusterContext, names: Names) -> str:
    """Return the password of an environment's door; empty if it has none."""
    if not context.own.has_password:
        return ""
    return door.password_of(read_secret(context.cluster, names, context.redactor))


def new_branch_secrets() -> dict[str, str]:
    """Return a new value for every key of a branch's Secret."""
    return {**new_secrets(), REDIS_KEY: secrets.token_urlsafe(24)}


def secret_version(cluster: Cluster, names: Names) -> str:
    """Return the Secret's version, at which pods restart when it changes; empty without one."""
    found = cluster.get("Secret", SECRET, names.namespace) or {}
    return str(found.get("metadata", {}).get("resourceVersion", ""))
