"""Refuses to let Helm act by stored records that name what is not the release's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import revision_secret_name
from tasks.adapters.kubernetes.kinds import KINDS
from tasks.adapters.kubernetes.stored_release import Named, named_objects, objects_of, unpack
from tasks.core.errors import RefusedError, UnreadableError
from tasks.core.kubernetes.objects import Object, labels_of, title_of

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

    for secret in _records(cluster, release, namespace):
        name = secret["metadata"]["name"]
        try:
            _check_name(secret, release)
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


def stored_objects(
    cluster: Cluster, release: str, namespace: str, revision: int
) -> tuple[list[Object], dict[str, Any]]:
    """Return the objects that a revision's record names, without hooks, and the values it had.

    There are none where the record is gone.

    Raises:
        RefusedError: a record of the release names others' objects, or kinds that no chart of
            the suite's has, or cannot be read.
        ClusterError: the API refused, or stayed unreachable.
    """
    check_records(cluster, release, namespace)
    name = revision_secret_name(release, revision)
    found = cluster.get("Secret", name, namespace)
    if found is None:
        return [], {}
    record = unpack((found.get("data") or {}).get("release", ""))
    objects = objects_of(record.get("manifest") or "")
    if strange := sorted(title_of(item) for item in objects if item["kind"] not in KINDS):
        raise RefusedError(
            f"Helm's record secret/{name} in {namespace} names {strange[0]}, and the chart makes "
            "nothing of that kind",
            hint=_hint(name, namespace),
        )
    return objects, record.get("config") or {}


def _records(cluster: Cluster, release: str, namespace: str) -> Iterator[Object]:
    """Yield the Secrets that Helm reads: it lists them by labels, and takes one by its name."""
    labelled = cluster.find("Secret", namespace, f"owner=helm,name={release}")
    yield from labelled
    known = {each["metadata"]["name"] for each in labelled}
    start = revision_secret_name(release, "")
    for each in cluster.find("Secret", namespace, metadata_only=True):
        name = each["metadata"]["name"]
        if name.startswith(start) and name not in known:
            found = cluster.get("Secret", name, namespace)
            if found is not None:
                yield found


def _check_name(secret: Object, release: str) -> None:
    """Check that a record is of the revision that its labels say."""
    version = labels_of(secret).get("version", "")
    if secret["metadata"]["name"] != revision_secret_name(release, version):
        raise UnreadableError(f"its labels are those of another revision ({version or 'none'})")


def _hint(name: str, namespace: str) -> str:
    return (
        "Helm would change or delete that with your rights, so it was not started. Find out who "
        f"wrote it; then `kubectl delete secret {name} --namespace {namespace}`, or clean the "
        "branch up, which does not use it"
    )
