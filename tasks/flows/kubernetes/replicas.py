"""How many web pods run, kept while the number passes from the chart to an autoscaler."""

from __future__ import annotations

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.kubernetes.objects import Object


def keep_replicas(cluster: Cluster, release: str, namespace: str) -> None:
    """Share ownership of the web Deployment's spec.replicas without changing it.

    With an autoscaler the chart sets no number. If Helm alone owned the field, the upgrade would
    remove it, and the API would set its default, 1, until the autoscaler corrects it
    (https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership).
    An autoscaler that changes the number takes over the field.
    """
    name = f"{release}-web"
    web = cluster.get("Deployment", name, namespace)
    # An HPA ignores 0 replicas, so a sleeping site must wake by the default.
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
