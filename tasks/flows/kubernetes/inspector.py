"""Lists and inspects the environments of a cluster, and runs commands in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tasks.core.cost import Requests
from tasks.core.environment import Owner
from tasks.core.errors import ClusterError, InputError, SettingsError, UnreadableError
from tasks.core.foresight import ObjectChange
from tasks.core.images.retention import ImageUse
from tasks.core.kubernetes.lease import NAME as LEASE
from tasks.core.kubernetes.manifests import COMPONENT, INSTANCE, MANAGED, PREFIX, STYLE
from tasks.core.kubernetes.objects import Object, annotations_of
from tasks.core.kubernetes.record import ClusterRecord, record_of, stated_owner
from tasks.core.kubernetes.requests import used_by
from tasks.core.kubernetes.summary import summary
from tasks.core.names import Names, choose, is_branch, is_foreign, is_misnamed
from tasks.core.repository import is_same
from tasks.core.settings import names_of_all_styles, naming_rule
from tasks.core.summary import EnvironmentSummary, misnamed, unreadable
from tasks.flows import schedules
from tasks.flows.kubernetes.branch_secret import door_password, read_secret
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.drift import find_drift
from tasks.flows.kubernetes.logs import show_logs
from tasks.flows.kubernetes.services import (
    ALL_CRONS,
    check_service,
    choose_container,
    selector,
    service_containers,
)
from tasks.flows.kubernetes.status import image_use, workload_status
from tasks.flows.target import ServiceStatus

_MANAGED = ",".join(f"{key}={value}" for key, value in MANAGED.items())
_WORKLOADS = "app.kubernetes.io/name=mautic"
"""The label of all objects of the chart."""


class ClusterInspector:
    """Lists and inspects the environments of a cluster, and runs commands in them."""

    is_private = False

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._cluster = context.cluster

    def list(self, repository: str = "") -> Sequence[EnvironmentSummary]:
        """Return all environments, with three requests regardless of their number.

        Anybody with rights in one namespace may have damaged what is stored there: each is read
        separately, so that it cannot hide the others.
        """
        ours = f"{_MANAGED},{PREFIX}environment={self._context.environment}"
        namespaces = self._cluster.find_all("Namespace", ours)
        web, leases = (
            {item["metadata"]["namespace"]: item for item in found}
            for found in (
                self._cluster.find_all("Deployment", f"{COMPONENT}=web"),
                self._cluster.find_all("Lease", fields=f"metadata.name={LEASE}"),
            )
        )
        found, now = [], self._cluster.now()
        for item in namespaces:
            name = item["metadata"]["name"]
            try:
                if self._is_of_these_settings(item):
                    found.append(summary(item, web.get(name), leases.get(name), now))
            except UnreadableError as error:
                found.append(unreadable(name, stated_owner(item), error.message))
        misnamed = self._misnamed(namespaces, repository) if repository else ()
        return [*sorted(found, key=lambda item: item.title), *misnamed]

    def usage(self) -> Mapping[str, Requests] | None:
        """Return what runs uses, by namespace, with one request; None if nobody measures it.

        Raises:
            ClusterError: the API stayed unreachable.
        """
        try:
            return used_by(self._cluster.find_all("PodMetrics"))
        except ClusterError as error:
            # Not installed, not for this user, or not answering.
            if error.status not in {403, 404, 503}:
                raise
            return None

    def image_uses(self) -> Sequence[ImageUse]:
        """Return what every environment of the cluster names of images, with three requests."""
        namespaces = self._cluster.find_all("Namespace", _MANAGED)
        workloads: dict[str, list[Object]] = {}
        for item in self._cluster.find_all("Deployment", _WORKLOADS):
            workloads.setdefault(item["metadata"]["namespace"], []).append(item)
        leases = {
            item["metadata"]["namespace"]: item
            for item in self._cluster.find_all("Lease", fields=f"metadata.name={LEASE}")
        }
        now = self._cluster.now()
        return [
            image_use(item, workloads.get(name, ()), leases.get(name), now)
            for item in namespaces
            for name in [item["metadata"]["name"]]
        ]

    def _misnamed(
        self, namespaces: Sequence[Object], repository: str
    ) -> Sequence[EnvironmentSummary]:
        """Return those of a repository's namespaces that are not those of their branches."""
        rule = naming_rule(self._context.settings, self._context.environment)
        found = []
        for item in namespaces:
            name, owner = item["metadata"]["name"], stated_owner(item)
            branch, slug = owner.get("branch", ""), owner.get("slug", "")
            if (
                is_same(owner.get("repository", ""), repository)
                and is_branch(branch)  # or `list` says why it cannot be read
                and is_misnamed(rule, branch, slug, name)
            ):
                by = annotations_of(item).get(f"{PREFIX}owner", "")
                created_at = item["metadata"]["creationTimestamp"]
                found.append(misnamed(name, owner, deployed_by=by, created_at=created_at))
        return sorted(found, key=lambda item: item.title)

    def drift(self, owner: Owner, names: Names) -> Sequence[ObjectChange] | None:
        """Return what differs from what was deployed; None if nothing ever was."""
        found = self._context.namespace(owner, names)
        record = record_of(found) if found else None
        if record is None or not record.revision:
            return None
        return tuple(find_drift(self._cluster, names, record))

    def _is_of_these_settings(self, found: Object) -> bool:
        """Return True if a namespace has the name that these settings give its branch.

        Raises:
            UnreadableError: it names no branch that the suite would deploy.
        """
        stated = stated_owner(found)
        try:
            branch = stated.get("branch", "")
            candidates = names_of_all_styles(
                self._context.settings, self._context.environment, branch
            )
        except SettingsError:
            raise
        except InputError as error:
            rule = naming_rule(self._context.settings, self._context.environment)
            if is_foreign(rule, stated.get("slug", ""), found["metadata"]["name"]):
                return False
            raise UnreadableError(f"its annotation {PREFIX}branch: {error.message}") from error
        return self._names(found, candidates) is not None

    def _names(self, found: Object, candidates: Sequence[Names]) -> Names | None:
        style = annotations_of(found).get(STYLE, "")
        return choose(candidates, found["metadata"]["name"], style)

    def find_names(self, candidates: Sequence[Names]) -> Names:
        """Return those of a branch's names that its environment bears, or the first."""
        for names in candidates:
            found = self._cluster.get("Namespace", names.namespace)
            stated = stated_owner(found) if found else {}
            ours = (stated.get("branch"), stated.get("environment"))
            if found and ours == (names.branch, names.environment):
                return self._names(found, candidates) or names
        return candidates[0]

    def status(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        """Return the workloads of one environment; empty if it does not exist."""
        found = self._context.namespace(owner, names)
        if found is None:
            return ()
        record = record_of(found)
        current = record.current if record else None
        now = self._cluster.now()
        return [
            workload_status(item, current, now)
            for kind in ("Deployment", "StatefulSet", "CronJob")
            for item in self._cluster.find(kind, names.namespace, f"{INSTANCE}={names.release}")
        ]

    def scheduled(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        """Return the scheduled commands of the one pod that runs them, if it does."""
        where = f"{selector(names)},{PREFIX}cron={ALL_CRONS}"
        pods = service_containers(self._cluster.find("Pod", names.namespace, where), "cron")
        running = [place for place in pods if place.running]
        if not running:
            return ()
        place = running[-1]
        try:
            status, said = self._cluster.output(
                names.namespace, place.pod, place.container, schedules.STATUS
            )
        except ClusterError as error:
            # Its node is unreachable: show the rest.
            return schedules.unknown(error.message)
        if status != 0:
            return schedules.unknown("")
        return schedules.parts(said.decode(errors="replace"), self._cluster.now())

    def record(self, owner: Owner, names: Names) -> ClusterRecord | None:
        """Return what is stored of one environment, or None if there is nothing."""
        found = self._context.namespace(owner, names)
        return record_of(found) if found else None

    def door_password(self, names: Names) -> str:
        """Return the password of an environment's door; empty if it has none."""
        return door_password(self._context, names)

    def logs(
        self,
        owner: Owner,
        names: Names,
        on_line: Callable[[str], None],
        *,
        service: str,
        follow: bool,
        tail: int | None,
        since_seconds: int,
    ) -> None:
        """Pass on the containers' logs, each line with its pod and container.

        Raises:
            InputError: there is no such service.
        """
        self._context.namespace(owner, names)
        read_secret(self._cluster, names, self._context.redactor)
        show_logs(
            *(self._cluster, names, on_line),
            service=service,
            follow=follow,
            tail=tail,
            since_seconds=since_seconds,
        )

    def check_service(self, owner: Owner, names: Names, service: str) -> None:
        """Check that there is a workload, or a container of one, of that name."""
        self._context.namespace(owner, names)
        check_service(self._cluster, names, service)

    def execute(self, owner: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        """Run a command in a container of a service, on this terminal; return its exit status.

        Raises:
            InputError: there is no such service.
            SuiteError: none of its containers runs.
        """
        self._context.namespace(owner, names)
        place = choose_container(self._cluster, names, service)
        return self._cluster.execute(names.namespace, place.pod, place.container, words)
