"""Resolves `--service` in a cluster: pods of a component or of one workload, or one container."""

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
"""The default container of commands, in web's pods."""
WEB = "web"
ALL_CRONS = "all"
"""The label's value, instead of a command's name, on the pod that runs all scheduled commands."""
ALIASES = {"mysql": "database"}
"""Components with another name in Docker Compose."""
WORKLOADS = ("Deployment", "StatefulSet", "CronJob", "Job")


@dataclass(frozen=True)
class ServiceContainer:
    """One container of one pod.

    Attributes:
        id: the runtime's id of the container's present or last run, or an empty string.
        running: whether it runs now.
        ready: whether its pod is ready and not being deleted.
        created_at: when its pod was created.
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
    """Return the containers of a service; all containers if it is empty."""
    found = []
    for pod in pods:
        whole = not service or service in _kinds(pod["metadata"])
        found += [place for place in _places(pod) if whole or place.container == service]
    return sorted(found, key=lambda place: (place.pod, place.container))


def check_service(cluster: Cluster, names: Names, service: str) -> None:
    """Check that a branch has a service, even if it has no pods at the moment.

    Raises:
        InputError: it has no such service.
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
    """Return the container that a command runs in: of the newest ready pod.

    Args:
        service: the user's choice, or an empty string for the PHP container.

    Raises:
        InputError: there is no such service.
        SuiteError: none of its containers runs.
    """
    pods = cluster.find("Pod", names.namespace, selector(names))
    chosen = service_containers(pods, service or PHP)
    if service in {"", WEB}:
        # A web pod has two containers; commands are usually for PHP.
        chosen = [place for place in service_containers(pods, WEB) if place.container == PHP]
    running = [place for place in chosen if place.running]
    if running:
        return max(running, key=lambda place: (place.ready, place.created_at, place.pod))
    if service:
        check_service(cluster, names, service)
    raise SuiteError(
        f"no container of {service or PHP} of {names.branch} is running",
        hint=f"look at it: inv status {names.options}",
    )


def _template(kind: str, item: Object) -> Object:
    spec = item["spec"]
    template: Object = (spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)["template"]
    return template


def service_of(metadata: Object) -> str:
    """Return a workload's service by its labels; its name may be shortened."""
    labels = metadata.get("labels") or {}
    component = labels.get(COMPONENT, "")
    which = labels.get(f"{PREFIX}{component}", ALL_CRONS)
    return component if which == ALL_CRONS else f"{component}-{which}"


def _kinds(metadata: Object) -> set[str]:
    """Return the services that a pod or a workload belongs to, by its labels."""
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
