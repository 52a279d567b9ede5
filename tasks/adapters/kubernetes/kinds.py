"""The kinds of objects that the suite uses, and their API paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Kind:
    """The API path of one kind of object."""

    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
        """Return the path of the collection, of one object, or of a subresource."""
        root = "/api/v1" if self.api == "v1" else f"/apis/{self.api}"
        where = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        path = f"{root}{where}/{self.plural}"
        if name is not None:
            path += f"/{quote(name)}"
        return f"{path}/{sub}" if sub else path


KINDS: Mapping[str, Kind] = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Node": Kind("v1", "nodes", namespaced=False),
    "PersistentVolume": Kind("v1", "persistentvolumes", namespaced=False),
    "Pod": Kind("v1", "pods"),
    "PodMetrics": Kind("metrics.k8s.io/v1beta1", "pods"),
    "Event": Kind("v1", "events"),
    "Secret": Kind("v1", "secrets"),
    "ConfigMap": Kind("v1", "configmaps"),
    "Service": Kind("v1", "services"),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "ResourceQuota": Kind("v1", "resourcequotas"),
    "LimitRange": Kind("v1", "limitranges"),
    "Deployment": Kind("apps/v1", "deployments"),
    "ReplicaSet": Kind("apps/v1", "replicasets"),
    "StatefulSet": Kind("apps/v1", "statefulsets"),
    "Job": Kind("batch/v1", "jobs"),
    "CronJob": Kind("batch/v1", "cronjobs"),
    "Lease": Kind("coordination.k8s.io/v1", "leases"),
    "StorageClass": Kind("storage.k8s.io/v1", "storageclasses", namespaced=False),
    "IngressClass": Kind("networking.k8s.io/v1", "ingressclasses", namespaced=False),
    "CSIDriver": Kind("storage.k8s.io/v1", "csidrivers", namespaced=False),
    "Gateway": Kind("gateway.networking.k8s.io/v1", "gateways"),
    "GatewayClass": Kind("gateway.networking.k8s.io/v1", "gatewayclasses", namespaced=False),
    "HTTPRoute": Kind("gateway.networking.k8s.io/v1", "httproutes"),
    "LoadBalancerConfiguration": Kind("gateway.k8s.aws/v1", "loadbalancerconfigurations"),
    "TargetGroupConfiguration": Kind("gateway.k8s.aws/v1", "targetgroupconfigurations"),
    "ListenerRuleConfiguration": Kind("gateway.k8s.aws/v1", "listenerruleconfigurations"),
    "Ingress": Kind("networking.k8s.io/v1", "ingresses"),
    "HorizontalPodAutoscaler": Kind("autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "CustomResourceDefinition": Kind(
        "apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False
    ),
    "ClusterRole": Kind("rbac.authorization.k8s.io/v1", "clusterroles", namespaced=False),
    "ClusterRoleBinding": Kind(
        "rbac.authorization.k8s.io/v1", "clusterrolebindings", namespaced=False
    ),
    "Role": Kind("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io/v1", "rolebindings"),
    "ValidatingAdmissionPolicy": Kind(
        "admissionregistration.k8s.io/v1", "validatingadmissionpolicies", namespaced=False
    ),
    "ValidatingAdmissionPolicyBinding": Kind(
        "admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings", namespaced=False
    ),
    "SelfSubjectAccessReview": Kind(
        "authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False
    ),
}
"""The kinds the suite deals with."""
