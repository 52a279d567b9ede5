"""What in a branch's namespace differs from what was deployed there; reads only."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.parallel import map_parallel
from tasks.core.foresight import ADD, CHANGE, KEEP, REMOVE, FieldChange, Hidden, Note, ObjectChange
from tasks.core.kubernetes.differences import differences
from tasks.core.kubernetes.labels import AWAKE
from tasks.core.kubernetes.managed_fields import set_by_people
from tasks.core.kubernetes.manifests import SECRET
from tasks.core.kubernetes.objects import Object, annotations_of, owners_of, title_of
from tasks.core.kubernetes.record import ClusterRecord
from tasks.core.kubernetes.removal import KINDS_OF_RELEASES
from tasks.core.names import Names
from tasks.flows.kubernetes.branch_secret import secret_version
from tasks.flows.kubernetes.foresee import HELM, as_applied, would_be
from tasks.flows.kubernetes.release_objects import find_objects
from tasks.flows.kubernetes.releases import HOOK, revisions
from tasks.flows.kubernetes.stored_manifests import stored_objects
from tasks.flows.kubernetes.takeover import UnfittingError

_OF_SLEEP = frozenset({"spec.replicas", "spec.suspend", f"metadata.annotations[{AWAKE}]"})
"""What is different of a workload that sleeps."""


def find_drift(cluster: Cluster, names: Names, record: ClusterRecord) -> Iterator[ObjectChange]:
    """Yield what differs: from what was deployed to what is there.

    Args:
        record: of the environment, in which something was deployed.

    Raises:
        RefusedError: a record of the release names others' objects, or cannot be read.
        ClusterError: the API refused, or stayed unreachable.
    """
    history = revisions(cluster, names.release, names.namespace)
    newest = history[-1].number if history else None
    if newest != record.revision:
        other = FieldChange("revision", record.revision, newest)
        yield ObjectChange(CHANGE, f"release/{names.release}", (other,))
    stored, values = stored_objects(cluster, names.release, names.namespace, record.revision)
    yield from _secret(cluster, names, (values.get("secret") or {}).get("version", ""))
    compared = map_parallel(lambda item: _compare(cluster, as_applied(item, names)), stored)
    yield from (each for each in compared if each.verb != KEEP)
    known = {title_of(item) for item in stored}
    for item in find_objects(cluster, KINDS_OF_RELEASES, names.release, names.namespace):
        # What something else owns is that one's; what a hook has left is the release's.
        if title_of(item) in known or owners_of(item) or HOOK in annotations_of(item):
            continue
        yield ObjectChange(ADD, title_of(item))


def _secret(cluster: Cluster, names: Names, version: str) -> Iterator[ObjectChange]:
    found = secret_version(cluster, names)
    if not found:
        yield ObjectChange(REMOVE, f"secret/{SECRET}")
    elif version and found != version:
        changed = FieldChange("data", Hidden(f"version {version}"), Hidden(f"version {found}"))
        yield ObjectChange(CHANGE, f"secret/{SECRET}", (changed,))


def _compare(cluster: Cluster, manifest: Object) -> ObjectChange:
    title, meta = title_of(manifest), manifest["metadata"]
    live = cluster.get(manifest["kind"], meta["name"], meta["namespace"])
    if live is None:
        return ObjectChange(REMOVE, title)
    try:
        fields = differences(would_be(cluster, manifest), live)
    except UnfittingError as error:
        # A field that cannot be changed is another one: the object was made anew by somebody.
        fields = (FieldChange("object", Note("as deployed"), Note(error.message)),)
    told = {each.path for each in fields}
    more = (each for each in set_by_people(live, HELM) if each.path not in told)
    asleep = AWAKE in annotations_of(live)
    shown = tuple(each for each in (*fields, *more) if not (asleep and each.path in _OF_SLEEP))
    return ObjectChange(CHANGE if shown else KEEP, title, shown)
