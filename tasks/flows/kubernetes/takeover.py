"""Refuses a deploy that Helm would end half way: what is in the place of the chart's objects."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.objects import Object, annotations_of, labels_of, title_of
from tasks.core.kubernetes.removal import KINDS_OF_RELEASES
from tasks.core.names import Names
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.release_objects import find_objects
from tasks.flows.kubernetes.releases import HOOK
from tasks.flows.kubernetes.stored_manifests import stored_objects

MANAGED_BY, MANAGED_BY_HELM = "app.kubernetes.io/managed-by", "Helm"
"""The label by which Helm knows what it may take for its own, besides two annotations."""


class UnfittingError(SuiteError):
    """What is in the cluster, or limits it, would refuse an object."""


def check_takeover(cluster: Cluster, plan: ClusterPlan, rendered: Sequence[Object]) -> None:
    """Check that what is in the place of the chart's objects may become the release's own.

    As Helm does, but before anything is changed. It takes one list of metadata for each kind, and
    no more where all is well. Hooks are left out: Helm deletes what is in their place.

    Args:
        rendered: the chart's objects with the plan's values.

    Raises:
        UnfittingError: an object is somebody else's.
        RefusedError: a record of the release names others' objects, or cannot be read.
        ClusterError: the API refused, or stayed unreachable.
    """
    names = plan.request.names
    lasting = [item for item in rendered if HOOK not in annotations_of(item)]
    wanted, made = {title_of(item) for item in lasting}, {item["kind"] for item in lasting}
    kinds = [kind for kind in KINDS_OF_RELEASES if kind in made]
    there = find_objects(cluster, kinds, "", names.namespace)
    foreign = {title_of(item) for item in there if not _is_own(item, names)} & wanted
    if not foreign:
        return
    # What the release names already is its own, whatever has become of its labels.
    foreign -= {title_of(item) for item in released_objects(cluster, plan)}
    for title in sorted(foreign):
        kind, _, name = title.partition("/")
        raise UnfittingError(
            f"Helm would refuse {title}: it exists and is not of release {names.release}",
            hint="nothing was changed; the chart makes an object of that name: find out whose it "
            f"is, then kubectl delete {kind} {name} --namespace {names.namespace}",
        )


def released_objects(cluster: Cluster, plan: ClusterPlan) -> list[Object]:
    """Return what Helm takes for the release's own: what its last good revision named.

    Raises:
        RefusedError: a record of the release names others' objects, or cannot be read.
        ClusterError: the API refused, or stayed unreachable.
    """
    names = plan.request.names
    if not plan.history:
        return []
    good = [each.number for each in plan.history if each.status == "deployed"]
    number = good[-1] if good else plan.history[-1].number
    return stored_objects(cluster, names.release, names.namespace, number)[0]


def whose(names: Names) -> dict[str, str]:
    """Return the annotations by which Helm knows a release's objects."""
    return {
        "meta.helm.sh/release-name": names.release,
        "meta.helm.sh/release-namespace": names.namespace,
    }


def _is_own(live: Object, names: Names) -> bool:
    is_managed = labels_of(live).get(MANAGED_BY) == MANAGED_BY_HELM
    return is_managed and whose(names).items() <= annotations_of(live).items()
