"""The target of environments with ``target: kubernetes``: a namespace and a release per branch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tasks.flows.kubernetes.adopter import ClusterAdopter
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.data import ClusterData
from tasks.flows.kubernetes.deployer import ClusterDeployer
from tasks.flows.kubernetes.inspector import ClusterInspector
from tasks.flows.kubernetes.plan import ClusterPlan
from tasks.flows.kubernetes.remover import ClusterRemover
from tasks.flows.kubernetes.seed_server import ClusterSeedServer
from tasks.flows.kubernetes.shared_uploads import ClusterSharedUploads
from tasks.flows.kubernetes.sleeper import ClusterSleeper
from tasks.flows.kubernetes.workshop import ClusterWorkshop
from tasks.flows.registry_port import Registry
from tasks.flows.target import FindImages, Target


@dataclass(frozen=True)
class _ClusterTarget:
    """The ports; see ``Target``."""

    deployer: ClusterDeployer
    remover: ClusterRemover
    adopter: ClusterAdopter
    inspector: ClusterInspector
    data: ClusterData
    sleeper: ClusterSleeper
    workshop: ClusterWorkshop
    seeds: ClusterSeedServer
    uploads: ClusterSharedUploads
    images: None = None


def kubernetes_target(
    context: ClusterContext,
    *,
    find_images: FindImages,
    registry: Callable[[], Registry],
    base: Callable[[str], str],
    access_points: Callable[[str], int] | None = None,
) -> Target[ClusterPlan]:
    """Return the target of an environment with ``target: kubernetes``.

    Args:
        find_images: returns the mautic and the nginx image of a tag, by digest.
        registry: returns the registry that they are in.
        base: returns, for a public image's reference, one by digest.
        access_points: returns how many access points a file system of EFS has; None elsewhere.
    """
    uploads = ClusterSharedUploads(context, registry)
    deployer = ClusterDeployer(
        context, find_images=find_images, uploads=uploads, base=base, access_points=access_points
    )
    return _ClusterTarget(
        deployer,
        ClusterRemover(context),
        ClusterAdopter(context),
        ClusterInspector(context),
        ClusterData(context),
        ClusterSleeper(context),
        ClusterWorkshop(context, deployer),
        ClusterSeedServer(context),
        uploads,
    )
