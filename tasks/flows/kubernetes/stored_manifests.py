"""Refuses to let Helm act by stored records that name what is not the release's own."""

from __future__ import annotations

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.stored_release import Named, named_objects, unpack
from tasks.core.errors import RefusedError, UnreadableError

SHOWN_MAX = 5
"""How many foreign objects are named."""


def check_records(cluster: Cluster, release: str, namespace: str) -> None:
    """Check that a release's records name objects of its own namespace alone.

    Helm rolls back to what a record names, and an upgrade deletes what the last one named and the
    chart does not. A record that is replaced after this is not seen: docs/security.md says so.

    Raises:
        RefusedError: a record names others, or cannot be read; nothing was changed.
        ClusterError: the API refused, or stayed unreachable.
    """
    known: dict[str, frozenset[str]] = {}

    def is_foreign(item: Named) -> bool:
        if item.api not in known:
            known[item.api] = cluster.namespaced_kinds(item.api)
        return item.namespace not in {"", namespace} or item.kind not in known[item.api]

    for secret in cluster.find("Secret", namespace, f"owner=helm,name={release}"):
        name = secret["metadata"]["name"]
        try:
            packed = (secret.get("data") or {}).get("release", "")
            foreign = sorted(
                {str(item) for item in named_objects(unpack(packed)) if is_foreign(item)}
            )
        except UnreadableError as error:
            raise RefusedError(
                f"Helm's record secret/{name} in {namespace} cannot be read: {error.message}",
                hint=_hint(name, namespace),
            ) from error
        if foreign:
            more = f" and {len(foreign) - SHOWN_MAX} more" if len(foreign) > SHOWN_MAX else ""
            raise RefusedError(
                f"Helm's record secret/{name} in {namespace} names what is not of this release: "
                f"{', '.join(foreign[:SHOWN_MAX])}{more}",
                hint=_hint(name, namespace),
            )


def _hint(name: str, namespace: str) -> str:
    return (
        "Helm would change or delete that with your rights, so it was not started. Find out who "
        f"wrote it; then `kubectl delete secret {name} --namespace {namespace}`, or clean the "
        "branch up, which does not use it"
    )
