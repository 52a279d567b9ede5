"""What `--service` means in a cluster: pods of a kind, those of one workload, or one container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.core.errors import InputError, SuiteError
from tasks.core.kubernetes.manifests import COMPONENT, INSTANCE, PREFIX
from tasks.core.kubernetes.objects import (
    Object,
    container_statuses,
    has_condition,
    is_being_deleted,
    is_running,
)
from tasks.core.names import Names

PHP = "fpm"
"""Where commands run unless another service is named: the container of web's pods."""
WEB = "web"
ALL_CRONS = "all"
"""The label of the pod that runs all scheduled commands, in place of one command's name."""
ALIASES = {"mysql": "database"}
"""Components that have another name on a machine with Docker Compose."""
WORKLOADS = ("Deployment", "StatefulSet", "CronJob", "Job")


@dataclass(frozen=True)
class ServiceContainer:
    """One container of one pod.

    Attributes:
        id: the runtime's id of the container's present or last run, or an empty string.
        running: whether it runs now.
        ready: whether its pod is ready, and not about to go.
        created_at: when its pod was made.
    """

    pod: str
    container: str
    id: str
    running: bool
    ready: bool
    created_at: str

    def __str__(self) -> str:
        return f"{self.pod} {self.container}"


def selector(names: Names) -> str:
    """Return the label selector of a branch's pods and workloads."""
    return f"{INSTANCE}={names.release}"


def service_containers(pods: Iterable[Object], service: str) -> list[ServiceContainer]:
    """Return the containers that belong to a service, all of them where it is empty."""
    found = []
    for pod in pods:
        whole = not service or service in _kinds(pod["metadata"])
        found += [place for place in _places(pod) if whole or place.container == service]
    return sorted(found, key=lambda place: (place.pod, place.container))


def check_service(cluster: Cluster, names: Names, service: str) -> None:
    """Make sure that a branch has a service, though none of its pods may be there just now.

    Raises:
        InputError: it has none of that name.
    """
    known: set[str] = set()
    for kind in WORKLOADS:
        for item in cluster.find(kind, names.namespace, selector(names)):
            template = _template(kind, item)
            known |= _kinds(template.get("metadata", {})) | _kinds(item["metadata"])
            known |= {container["name"] for container in template["spec"]["containers"]}
    if service not in known:
        raise InputError(
            f"{names.branch} has no service {service!r}",
            hint=f"it has: {', '.join(sorted(known))}",
        )


def choose_container(cluster: Cluster, names: Names, service: str) -> ServiceContainer:
    """Return the container that a command runs in: a ready pod's, the newest one's.

    Args:
        service: as a person named it, or an empty string for where Mautic's PHP is.

    Raises:
        InputError: there is no such service.
        SuiteError: none of its containers runs.
    """
    pods = cluster.find("Pod", names.namespace, selector(names))
    chosen = service_containers(pods, service or PHP)
    if service in {"", WEB}:
        # Both of a web pod's containers are its service; PHP is where a person has work to do.
        chosen = [place for place in service_containers(pods, WEB) if place.container == PHP]
    running = [place for place in chosen if place.running]
    if running:
        return max(running, key=lambda place: (place.ready, place.created_at, place.pod))
    if service:
        check_service(cluster, names, service)
    raise SuiteError(
        f"no container of {service or PHP} of {names.branch} is running",
        hint=f"look at it: inv status --branch {names.branch}",
    )


def _template(kind: str, item: Object) -> Object:
    spec = item["spec"]
    template: Object = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
    return template


def service_of(metadata: Object) -> str:
    """Return the one service that a workload is: its name may be cut, its labels never are."""
    labels = metadata.get("labels") or {}
    component = labels.get(COMPONENT, "")
    which = labels.get(f"{PREFIX}{component}", ALL_CRONS)
    return component if which == ALL_CRONS else f"{component}-{which}"


def _kinds(metadata: Object) -> set[str]:
    """Return the services that the labels of a pod, or of what makes it, say it belongs to."""
    component = (metadata.get("labels") or {}).get(COMPONENT, "")
    return {component, ALIASES.get(component, component), service_of(metadata)} - {""}


def _places(pod: Object) -> Iterator[ServiceContainer]:
    meta, ready = pod["metadata"], not is_being_deleted(pod) and has_condition(pod, "Ready")
    for container in container_statuses(pod):
        yield ServiceContainer(
            meta["name"],
            container["name"],
            container.get("containerID", ""),
            is_running(container),
            ready,
            meta.get("creationTimestamp", ""),
        )
