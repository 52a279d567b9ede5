"""A snapshot of a release's objects, and which pods are of its newest revision."""

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
        jobs: those that belong to this rollout.
        pods: including those of old revisions.
        claims: the PersistentVolumeClaims of the namespace.
        events: the events of the namespace.
        earlier: restart counts of containers when the rollout began, by pod uid and name; without
            pods that did not exist then.
        databases: the StatefulSets of the release's own database, whether or not everything has
            been applied.
        said: the messages of followed containers, by pod uid and name.
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
        """The Deployments and StatefulSets."""
        return (*self.deployments, *self.statefulsets)

    def events_about(self, item: Object) -> list[Object]:
        """Return the events about one object."""
        return [event for event in self.events if event_uid(event) == uid_of(item)]


def new_pods(snapshot: Snapshot) -> list[Object]:
    """Return the pods of each workload's newest revision, and of the Jobs."""
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
    """Return the ReplicaSet of each Deployment's newest revision, if it exists yet."""
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
    """Return True if a workload's controller has observed its latest generation."""
    generation = int(workload["metadata"].get("generation", 0))
    return int(workload.get("status", {}).get("observedGeneration", 0)) >= generation


def is_by_job(pod: Object) -> bool:
    """Return True if a pod belongs to a Job: it ends, and has no readiness probe."""
    return bool(pod.get("spec", {}).get("restartPolicy", "Always") != "Always")
