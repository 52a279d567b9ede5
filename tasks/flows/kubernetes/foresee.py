"""What a deploy changes in a branch's namespace, asked of the API server by a dry run.

Helm applies its manifests on the server's side. So does this, without any effect: what comes back
has the server's defaults and what others have set, and differs from what is there in just that
which Helm would change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.parallel import map_parallel
from tasks.core import saved_plan
from tasks.core.errors import ClusterError
from tasks.core.foresight import (
    ADD,
    CHANGE,
    KEEP,
    REMOVE,
    RUN,
    FieldChange,
    Foresight,
    Hidden,
    ObjectChange,
    fact,
)
from tasks.core.kubernetes.differences import differences
from tasks.core.kubernetes.labels import ASLEEP, AWAKE, PIN, USED_AT, WAKING
from tasks.core.kubernetes.manifests import SECRET
from tasks.core.kubernetes.objects import (
    Object,
    annotations_of,
    is_being_deleted,
    labels_of,
    title_of,
    uid_of,
)
from tasks.core.kubernetes.record import RECORD
from tasks.core.kubernetes.stages import start_patch
from tasks.core.names import Names
from tasks.flows.kubernetes.branch_secret import secret_version
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.release_objects import POLICY
from tasks.flows.kubernetes.releases import HOOK
from tasks.flows.kubernetes.takeover import UnfittingError, released_objects, whose

HELM = "helm"
"""Helm's field manager."""
MADE = Hidden("made by the deploy")
FLEETING = frozenset({RECORD, ASLEEP, PIN, USED_AT, WAKING})
"""Annotations of a namespace that are facts of their own, or that no deploy depends on."""
REFUSED = frozenset({400, 403, 409, 422})
"""Statuses by which the API says that it does not take an object."""


def foresee(context: ClusterContext, plan: ClusterPlan, rendered: Sequence[Object]) -> Foresight:
    """Return what carrying out a plan changes, and what that depends on; reads only.

    Args:
        rendered: the chart's objects with the plan's values; none if there is nothing to do.

    Raises:
        RefusedError: a record of the release names others' objects, or cannot be read.
        UnfittingError: the cluster would refuse an object; the message says why.
        ClusterError: the API stayed unreachable.
    """
    names, cluster = plan.request.names, context.cluster
    found = context.namespace(plan.request.owner, names)
    if found and is_being_deleted(found):
        found = None
    version = secret_version(cluster, names) if found else ""
    objects = _objects(cluster, plan, rendered, version, exists=found is not None)
    return Foresight(
        tuple(objects) if plan.steps else (),
        {**_facts(cluster, plan, found), "secret": version},
    )


def _objects(
    cluster: Cluster, plan: ClusterPlan, rendered: Sequence[Object], version: str, *, exists: bool
) -> Iterator[ObjectChange]:
    names = plan.request.names
    if not exists:
        yield ObjectChange(ADD, f"namespace/{names.namespace}")
    if not version:
        yield ObjectChange(ADD, f"secret/{SECRET}")
    elif plan.seed:
        made = tuple(FieldChange(f"data.{key}", None, MADE) for key in sorted(plan.seed))
        yield ObjectChange(CHANGE, f"secret/{SECRET}", made)
    lasting = [item for item in rendered if HOOK not in annotations_of(item)]
    released = {title_of(item): item for item in released_objects(cluster, plan)}

    def change(item: Object) -> ObjectChange:
        manifest = as_applied(item, names)
        if not exists:
            return ObjectChange(ADD, title_of(item), wanted=fact(manifest))
        return _change(cluster, plan, manifest)

    yield from sorted(map_parallel(change, lasting), key=lambda each: each.title)
    wanted = {title_of(item) for item in lasting}
    dropped = [item for title, item in released.items() if title not in wanted]
    yield from _removed(cluster, names.namespace, dropped)
    hooks = [item for item in rendered if HOOK in annotations_of(item)]
    yield from (ObjectChange(RUN, title_of(item), wanted=fact(item)) for item in hooks)


def as_applied(item: Object, names: Names) -> Object:
    """Return a release's object with what Helm adds to each: whose it is, and where it goes."""
    meta = item["metadata"]
    annotations = {**annotations_of(item), **whose(names)}
    return {
        **item,
        "metadata": {**meta, "namespace": names.namespace, "annotations": annotations},
    }


def would_be(cluster: Cluster, manifest: Object) -> Object:
    """Return what an object would be once Helm had applied it.

    Raises:
        UnfittingError: the cluster would refuse it.
        ClusterError: the API stayed unreachable.
    """
    try:
        return cluster.would_be(manifest, HELM)
    except ClusterError as error:
        if error.status not in REFUSED:
            raise
        raise UnfittingError(
            f"the cluster would refuse {title_of(manifest)}: {error.message}",
            hint="nothing was changed; what the chart makes of the values files does not fit what "
            "is there",
        ) from error


def _change(cluster: Cluster, plan: ClusterPlan, manifest: Object) -> ObjectChange:
    title, meta = title_of(manifest), manifest["metadata"]
    live = cluster.get(manifest["kind"], meta["name"], meta["namespace"])
    then = would_be(cluster, manifest)
    if live is None:
        return ObjectChange(ADD, title, wanted=fact(manifest))
    fields = differences(live, _woken(plan, live, manifest, then))
    return ObjectChange(CHANGE if fields else KEEP, title, fields)


def _woken(plan: ClusterPlan, live: Object, manifest: Object, then: Object) -> Object:
    """Return what becomes of an object with what is done beside Helm: waking, autoscaling."""
    stated, spec = manifest.get("spec") or {}, dict(then.get("spec") or {})
    meta = then["metadata"]
    if AWAKE in annotations_of(live):
        if plan.asleep and (patch := start_patch(live)):
            spec |= {key: value for key, value in patch["spec"].items() if key not in stated}
            kept = {key: value for key, value in annotations_of(then).items() if key != AWAKE}
            meta = {**meta, "annotations": kept}
    elif plan.autoscaled and "replicas" not in stated and live.get("spec", {}).get("replicas"):
        # The number is left to the autoscaler (``keep_replicas``).
        spec["replicas"] = live["spec"]["replicas"]
    return {**then, "metadata": meta, **({"spec": spec} if spec else {})}


def _removed(cluster: Cluster, namespace: str, dropped: Sequence[Object]) -> Iterator[ObjectChange]:
    """Yield what Helm deletes of what the chart makes no more."""
    for item in dropped:
        live = cluster.get(item["kind"], item["metadata"]["name"], namespace)
        if live and annotations_of(live).get(POLICY) != "keep":
            yield ObjectChange(REMOVE, title_of(item))


def _facts(cluster: Cluster, plan: ClusterPlan, found: Object | None) -> dict[str, str]:
    """Return what a plan depends on, besides its effects."""
    newest = plan.history[-1] if plan.history else None
    said = annotations_of(found) if found else {}
    kept = {key: value for key, value in said.items() if key not in FLEETING}
    return {
        "namespace": uid_of(found) if found else "",
        "namespace's labels": fact(labels_of(found)) if found else "",
        "namespace's annotations": fact(kept) if found else "",
        "record": fact(said[RECORD]) if RECORD in said else "",
        saved_plan.ASLEEP: str(plan.asleep or ""),
        "release": f"revision {newest.number}, {newest.status}" if newest else "",
        "values": plan.fingerprint,
        "limits": _limits(cluster, plan.request.names) if found else "",
    }


def _limits(cluster: Cluster, names: Names) -> str:
    """Return a hash of what limits a namespace; empty if nothing does."""
    found: Mapping[str, Any] = {
        f"{kind} {item['metadata']['name']}": item.get("spec")
        for kind in ("ResourceQuota", "LimitRange")
        for item in cluster.find(kind, names.namespace)
    }
    return fact(found) if found else ""
