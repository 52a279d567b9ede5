"""What the API reports of a release at one moment, and which pods are of its newest revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.core.images.wait_messages import ContainerMessages
from tasks.core.kubernetes.objects import (
    Object,
    annotations_of,
    controller_uid,
    event_uid,
    is_being_deleted,
    labels_of,
    uid_of,
)

REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Snapshot:
    """The release's objects as the API reports them at one moment.

    Attributes:
        deployments: as listed.
        statefulsets: as listed.
        replicasets: as listed.
        jobs: those that belong to this rollout.
        pods: as listed, old ones too.
        claims: the PersistentVolumeClaims of the namespace.
        events: the events of the namespace.
        earlier: how often containers, by pod uid and name, had been restarted when the rollout
            began. Pods that were not there yet are left out.
        databases: the StatefulSets of the release's own database, whether or not everything has
            been applied.
        said: what containers have said that are followed, by pod uid and name.
    """

    deployments: Sequence[Object] = ()
    statefulsets: Sequence[Object] = ()
    replicasets: Sequence[Object] = ()
    jobs: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    events: Sequence[Object] = ()
    earlier: Mapping[tuple[str, str], int] = field(default_factory=dict)
    databases: Sequence[Object] = ()
    said: Mapping[tuple[str, str], ContainerMessages] = field(default_factory=dict)

    @property
    def workloads(self) -> tuple[Object, ...]:
        """What keeps pods running."""
        return (*self.deployments, *self.statefulsets)

    def events_about(self, item: Object) -> list[Object]:
        """Return the events about one object."""
        return [event for event in self.events if event_uid(event) == uid_of(item)]


def new_pods(snapshot: Snapshot) -> list[Object]:
    """Return the pods that count: those of each workload's newest revision, and of its Jobs."""
    owners = {uid_of(owner) for owner in (*snapshot.jobs, *new_replicasets(snapshot))}
    revisions = {
        (uid_of(stateful), stateful.get("status", {}).get("updateRevision"))
        for stateful in snapshot.statefulsets
        if is_observed(stateful)
    }
    return [
        pod
        for pod in snapshot.pods
        if not is_being_deleted(pod)
        and (
            controller_uid(pod) in owners
            or (controller_uid(pod), labels_of(pod).get("controller-revision-hash")) in revisions
        )
    ]


def new_replicasets(snapshot: Snapshot) -> list[Object]:
    """Return the ReplicaSet of each Deployment's newest revision, where there is one yet."""
    revisions = {
        (uid_of(deployment), annotations_of(deployment).get(REVISION))
        for deployment in snapshot.deployments
        if is_observed(deployment)
    }
    return [
        replicaset
        for replicaset in snapshot.replicasets
        if (controller_uid(replicaset), annotations_of(replicaset).get(REVISION)) in revisions
    ]


def is_observed(workload: Object) -> bool:
    """Return True if a workload's controller has seen what was last asked of it."""
    generation = int(workload["metadata"].get("generation", 0))
    return int(workload.get("status", {}).get("observedGeneration", 0)) >= generation


def is_by_job(pod: Object) -> bool:
    """Return True if a pod is a Job's: it ends, and no probe asks whether it is ready."""
    return bool(pod.get("spec", {}).get("restartPolicy", "Always") != "Always")
