"""Lists and inspects environments on this machine, and runs commands in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import ClassVar

from tasks.adapters.docker import compose
from tasks.adapters.docker.engine import Container
from tasks.adapters.files.lock import FileLock
from tasks.core.compose.record import (
    BRANCH,
    ENVIRONMENT,
    RECORD,
    REPOSITORY,
    STYLE,
    ComposeRecord,
    labelled_owner,
    newest,
)
from tasks.core.compose.stages import PHP, PROJECT
from tasks.core.environment import Holder, Owner, observed_state
from tasks.core.errors import DeadlineError, InputError, SettingsError, UnreadableError
from tasks.core.foresight import ObjectChange
from tasks.core.images.retention import ImageUse, names_in, registries_in
from tasks.core.names import Names, choose, is_foreign
from tasks.core.settings import names_of_all_styles, naming_rule
from tasks.core.sleep import NO_REST, Wake
from tasks.core.summary import EnvironmentSummary, summarize, unreadable
from tasks.flows import schedules
from tasks.flows.compose.context import QUESTION_SECONDS, ComposeContext
from tasks.flows.compose.foresee import find_drift
from tasks.flows.compose.plan import MIGRATE
from tasks.flows.target import ServiceStatus, owner_of, recorded_use

CRON = "cron"
_STOPPED = ("created", "exited", "dead")
_Volumes = Mapping[str, Mapping[str, str]]
"""The labels of volumes with records, by name."""


@dataclass(frozen=True)
class ComposeInspector:
    """Lists and inspects environments; errors as for ``Inspector``."""

    context: ComposeContext

    is_private: ClassVar = True

    def list(self, repository: str = "") -> Sequence[EnvironmentSummary]:
        """Return the environments of this project on the engine, by branch.

        Whoever may use the engine owns the machine, and needs no other names than the rule's.
        """
        found = []
        for project, own, volumes in self._projects():
            try:
                if read := self._read(project, own, volumes):
                    found.append(read)
            except UnreadableError as error:
                labels = own[0].labels if own else next(iter(volumes.values()))
                found.append(unreadable(project, labelled_owner(labels), error.message))
        return sorted(found, key=lambda item: item.title)

    def _projects(self) -> Iterator[tuple[str, Sequence[Container], _Volumes]]:
        """Yield every Compose project with environments: name, containers, records' labels."""
        engine = self.context.engine
        containers: dict[str, list[Container]] = {}
        for item in engine.containers(BRANCH):
            containers.setdefault(item.project, []).append(item)
        records: dict[str, dict[str, Mapping[str, str]]] = {}
        for volume in engine.volumes(RECORD):
            records.setdefault(volume.project, {})[volume.name] = volume.labels
        for project in {*containers, *records}:
            yield project, containers.get(project, []), records.get(project, {})

    def usage(self) -> None:
        """Return None: an engine takes seconds to measure."""

    def image_uses(self) -> Sequence[ImageUse]:
        """Return what every environment on the engine names of images, of any project."""
        return [image_use(*each) for each in self._projects()]

    def _read(
        self, project: str, own: Sequence[Container], volumes: _Volumes
    ) -> EnvironmentSummary | None:
        """Return one environment; None if it is not one of these settings.

        Args:
            project: its Compose project.
            own: its containers.
            volumes: the labels of its volumes with records, by name.

        Raises:
            UnreadableError: what is stored of it is damaged.
        """
        labels = own[0].labels if own else next(iter(volumes.values()))
        if labels.get(ENVIRONMENT) != self.context.environment:
            return None
        try:
            candidates = names_of_all_styles(
                self.context.settings, self.context.environment, labels.get(BRANCH, "")
            )
        except SettingsError:
            raise
        except InputError as error:
            rule = naming_rule(self.context.settings, self.context.environment)
            if is_foreign(rule, labelled_owner(labels).get("slug", ""), project):
                return None
            raise UnreadableError(f"its label {BRANCH}: {error.message}") from error
        if project not in {each.namespace for each in candidates}:
            return None
        latest = newest(volumes)
        labels = volumes[latest] if latest else labels
        names = choose(candidates, project, labels.get(STYLE, ""))
        if names is None:
            return None
        record = ComposeRecord.from_labels(labels) if latest else None
        owner = owner_of(names, labels.get(REPOSITORY, ""))
        lock = FileLock(project)
        return summary(owner, names, record, own, lock.holder(), lock.used_at(), lock.wake())

    def find_names(self, candidates: Sequence[Names]) -> Names:
        """Return those of a branch's names that its environment bears, or the first."""
        for names in candidates:
            records = (
                item.labels
                for item in self.context.engine.volumes(f"{PROJECT}={names.namespace}")
                if RECORD in item.labels
            )
            containers = (item.labels for item in self.context.containers(names))
            labels = next(itertools.chain(records, containers), {})
            ours = (labels.get(BRANCH), labels.get(ENVIRONMENT))
            if ours == (names.branch, names.environment):
                return choose(candidates, names.namespace, labels.get(STYLE, "")) or names
        return candidates[0]

    def drift(self, owner: Owner, names: Names) -> Sequence[ObjectChange] | None:
        """Return what differs from what was deployed; None if nothing ever was."""
        inventory = self.context.inventory(owner, names)
        record = inventory.record
        if record is None or record.current is None:
            return None
        return tuple(find_drift(self.context, owner, names, inventory, record))

    def status(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        """Return the services of one environment, by name; if any is there, those that lack too."""
        inventory = self.context.inventory(owner, names)
        current = inventory.record.current if inventory.record else None
        tags = {current.mautic: current.tag, current.nginx: current.tag} if current else {}
        found = [
            ServiceStatus(
                name, item.state, item.health, item.image, tags.get(item.image, ""), item.uptime
            )
            for name, item in inventory.services.items()
        ]
        if found:
            missing = _deployed(inventory.record) - inventory.services.keys()
            found += [ServiceStatus(name, "missing", "", "", "", "") for name in missing]
        return sorted(found, key=attrgetter("service"))

    def scheduled(self, owner: Owner, names: Names) -> Sequence[ServiceStatus]:
        """Return the scheduled commands of one environment, if what runs them does."""
        cron = self.context.inventory(owner, names).services.get(CRON)
        if cron is None or cron.state != "running":
            return ()
        try:
            done = compose.execute(
                self.context.runner,
                cron.id,
                schedules.STATUS,
                deadline_seconds=QUESTION_SECONDS,
                check=False,
            )
        except DeadlineError as error:
            return schedules.unknown(error.message)
        if done.returncode:
            return schedules.unknown(done.stderr)
        return schedules.parts(done.stdout, datetime.now(UTC))

    def record(self, owner: Owner, names: Names) -> ComposeRecord | None:
        """Return what is stored of one environment, or None if there is nothing."""
        return self.context.inventory(owner, names).record

    def door_password(self, names: Names) -> str:
        """Return the password of an environment's door; empty if it has none."""
        return self.context.door_password(names)

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
        """Pass on the logs of services, each line with its container's name."""
        if service:
            self.check_service(owner, names, service)
        self.context.secrets(names)
        compose.logs(
            self.context.runner,
            names.namespace,
            on_line,
            cwd=self.context.root,
            service=service,
            follow=follow,
            tail=tail,
            since_seconds=since_seconds,
        )

    def check_service(self, owner: Owner, names: Names, service: str) -> None:
        """Check that there is a container of it."""
        self.context.container(owner, names, service)

    def execute(self, owner: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        """Run a command in a service's container, on this terminal; return its exit status."""
        container = self.context.container(owner, names, service or PHP)
        return compose.interact(self.context.runner, container, words)


def image_use(project: str, containers: Sequence[Container], volumes: _Volumes) -> ImageUse:
    """Return what one environment names of images; arguments as ``_projects`` yields them."""
    labels = containers[0].labels if containers else next(iter(volumes.values()))
    owner = labelled_owner(labels)
    stopped = [item.image for item in containers if item.state in _STOPPED]
    use = ImageUse(
        environment=owner.get("environment", ""),
        where=project,
        branch=owner.get("branch", ""),
        slug=owner.get("slug", ""),
        runs=names_in(item.image for item in containers if item.state not in _STOPPED),
        sleeps=names_in(stopped),
        registries=registries_in(item.image for item in containers),
    )
    try:
        latest = newest(volumes)
        record = ComposeRecord.from_labels(volumes[latest]) if latest else None
    except UnreadableError as error:
        return replace(use, problem=error.message)
    holder = FileLock(project).holder()
    if holder:
        use = replace(use, runs=use.runs | {holder.commit})
    return recorded_use(use, record, held=holder is not None)


def _deployed(record: ComposeRecord | None) -> frozenset[str]:
    """Return the services that were started by the last deploy."""
    return frozenset(record.services) - {MIGRATE} if record else frozenset()


def summary(
    owner: Owner,
    names: Names,
    record: ComposeRecord | None,
    containers: Sequence[Container],
    holder: Holder | None,
    used_at: str = "",
    wake: Wake = Wake.NOT,
) -> EnvironmentSummary:
    """Return one environment as `inv list` shows it.

    Args:
        record: its record, or None.
        containers: its containers, including those of `docker compose run`.
        holder: the run that is changing it, or None.
        used_at: when it was used last, other than by a deploy; empty if that is unknown.
        wake: how far the local platform's waker is.
    """
    services = [item for item in containers if not item.one_off]
    running = [item for item in services if item.state == "running"]
    lacking = _deployed(record) - {item.service for item in services}
    rest = record.rest(used_at, wake) if record else NO_REST
    sick = any(item.health == "unhealthy" for item in running)
    state = observed_state(
        record,
        doing=holder.doing if holder else None,
        stopped=not running,
        complete=len(running) == len(services) and not lacking and not sick,
        asleep=rest.asleep is not None,
    )
    # The oldest recorded release: the engine's labels have no time of creation.
    created_at = record.history[0].deployed_at if record and record.history else ""
    return summarize(
        owner,
        record,
        url=names.url,
        state=state,
        created_at=created_at,
        namespace=names.namespace,
        rest=rest,
    )
