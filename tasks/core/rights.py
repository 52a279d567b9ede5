"""What a deploy and a clean-up do to a branch's namespace, by verb and kind.

The one list of it: the preflight asks for these rights, and helm/platform gives CI jobs these and
no others. The tests hold it against what the suite and its Helm ask of an API server.
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
        "LimitRange ResourceQuota": "get create patch delete",
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
        "HorizontalPodAutoscaler PodDisruptionBudget": "get create patch delete",
        "Ingress NetworkPolicy HTTPRoute": "get create patch delete",
        "Lease": "get create update delete",
    }.items()
    for kind in kinds.split()
}
"""The verbs by kind, or by a part of it as in ``Pod/log``."""


def needed(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the verbs and kinds without which a deploy would stop half-way.

    Args:
        values: the chart's values, merged: what it does not make needs no right.
    """
    route = values["route"]["kind"]
    made = {
        "LimitRange": values["limitRange"]["enabled"],
        "ResourceQuota": values["quota"]["enabled"],
        "HTTPRoute": route == "httproute",
        "Ingress": route == "ingress",
    }
    return tuple(
        (verb, kind) for kind, verbs in RIGHTS.items() if made.get(kind, True) for verb in verbs
    )
