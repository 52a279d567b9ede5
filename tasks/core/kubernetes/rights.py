"""The rights that a deploy and a clean-up need in a branch's namespace, by verb and kind.

This is the only list: the preflight checks these rights, and helm/platform grants exactly these to
CI jobs. Tests compare it with the requests of the suite and its Helm to an API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RIGHTS: Mapping[str, tuple[str, ...]] = {
    kind: tuple(verbs.split())
    for kinds, verbs in {
        "ConfigMap ServiceAccount Service": "get list create patch delete",
        "PersistentVolumeClaim": "get list watch create patch delete",
        # Helm keeps its revisions in Secrets. Where it may not update one, it leaves it pending
        # and says nothing.
        "Secret": "get list create update patch delete",
        "LimitRange ResourceQuota": "get list create patch delete",
        "Pod": "list watch delete",
        "Pod/log": "get",
        # Over a websocket: a GET, which since Kubernetes 1.35 needs the right to create as well.
        "Pod/exec": "get create",
        "Event": "list watch",
        "Service/proxy": "get",
        "Deployment StatefulSet": "get list watch create patch delete",
        "ReplicaSet": "list watch",
        "CronJob": "get list create patch delete",
        "Job": "list watch create patch delete",
        "HorizontalPodAutoscaler PodDisruptionBudget": "get list create patch delete",
        "Ingress HTTPRoute": "get list create patch delete",
        # Helm watches that of the migration go.
        "NetworkPolicy": "get list watch create patch delete",
        "ListenerRuleConfiguration": "get list create patch delete",
        "Lease": "get create update delete",
    }.items()
    for kind in kinds.split()
}
"""The verbs by kind, or by subresource as in ``Pod/log``."""


def needed(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the verbs and kinds that a deploy needs.

    Args:
        values: the chart's merged values: kinds that it does not create need no rights.
    """
    route = values["route"]["kind"]
    made = {
        "LimitRange": values["limitRange"]["enabled"],
        "ResourceQuota": values["quota"]["enabled"],
        "HTTPRoute": route == "httproute",
        "Ingress": route == "ingress",
        # The platform grants these where it names user pools.
        "ListenerRuleConfiguration": bool(values["door"]["oidc"]["userPoolArn"]),
    }
    return tuple(
        (verb, kind) for kind, verbs in RIGHTS.items() if made.get(kind, True) for verb in verbs
    )
