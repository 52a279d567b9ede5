"""How many web pods run, kept while the number passes from the chart to an autoscaler."""

from __future__ import annotations

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.kubernetes.objects import Object


def keep_replicas(cluster: Cluster, release: str, namespace: str) -> None:
    """Make the number of web pods the suite's field as well as Helm's, at what it is.

    With an autoscaler the chart states no number. One that Helm alone had stated would go with its
    statement, and the API put its default in that place: 1, until the autoscaler has looked
    (https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership).
    An autoscaler that changes the number takes the field over.
    """
    name = f"{release}-web"
    web = cluster.get("Deployment", name, namespace)
    # An autoscaler leaves alone what has no pods: what sleeps must wake by the default.
    if web is None or not web["spec"].get("replicas") or not _is_stated_by_helm(web):
        return
    cluster.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": web["spec"]["replicas"]},
        }
    )


def _is_stated_by_helm(web: Object) -> bool:
    return any(
        each.get("manager") == "helm" and "f:replicas" in each.get("fieldsV1", {}).get("f:spec", {})
        for each in web["metadata"].get("managedFields") or ()
    )
