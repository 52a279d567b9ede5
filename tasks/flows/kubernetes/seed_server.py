"""Loads a seed into the database server that branches share, by the platform's provisioner.

The run itself has no right to that server: it hands the seed, sealed, to a program in the
provisioner's pod, which takes none but the project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tasks.core.errors import SuiteError
from tasks.core.kubernetes.objects import is_being_deleted
from tasks.core.kubernetes.provisioner import (
    NAME,
    PLANT,
    has_seed,
    seed_record_name,
    takes_seeds,
)
from tasks.flows.kubernetes.context import ClusterContext

PODS = "app.kubernetes.io/component=provisioner"
CONTAINER = "provisioner"


class ClusterSeedServer:
    """The database server of a cluster's branches; errors as for ``SeedServer``."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context

    def plant(self, source: Iterable[bytes], on_line: Callable[[str], None]) -> int:
        """Run the provisioner's program; return its exit status."""
        return self._context.cluster.pipe(
            *(*provisioner(self._context, "loads seeds"), PLANT),
            source=source,
            take=lambda _: None,
            on_line=lambda line: on_line(self._context.redactor(line)),
        )


def provisioner(context: ClusterContext, does: str) -> tuple[str, str, str]:
    """Return namespace, pod and container of the platform's provisioner.

    Args:
        does: what it is wanted for, for the error.

    Raises:
        SuiteError: none runs.
    """
    platform = context.own.platform_namespace
    pods = [
        pod
        for pod in context.cluster.find("Pod", platform, PODS)
        if pod.get("status", {}).get("phase") == "Running" and not is_being_deleted(pod)
    ]
    if not pods:
        raise SuiteError(
            f"deployment/{NAME} in {platform}, which {does}, has no pod that runs",
            hint="inv platform.status shows the platform, and what to do",
        )
    return platform, pods[0]["metadata"]["name"], CONTAINER


def loads_seeds(context: ClusterContext) -> bool:
    """Return True if seeds are loaded into the server that the environment's branches share."""
    if not context.is_provisioned:
        return False
    return takes_seeds(context.cluster.get("ConfigMap", NAME, context.own.platform_namespace))


def is_loaded(context: ClusterContext, id_: str) -> bool:
    """Return True if a seed is on that server, by what the provisioner has recorded."""
    platform = context.own.platform_namespace
    return has_seed(context.cluster.get("ConfigMap", seed_record_name(id_), platform))
