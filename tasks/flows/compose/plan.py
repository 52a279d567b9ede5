"""The plan of a deploy to this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.core.compose.reconcile import MISSING, ServiceChange, WantedService, short_reference
from tasks.core.compose.record import ComposeRecord
from tasks.core.compose.stages import DATABASE, QUIESCED
from tasks.core.plan import Step
from tasks.flows.target import DeployPlan

MIGRATE = "migrate"

LAST_STEP = 'CMD ["web"]'
"""The last instruction of docker/mautic/Dockerfile."""

REPLACING = ("create", "update")
"""The verbs that create a new container."""


@dataclass(frozen=True, kw_only=True)
class ComposePlan(DeployPlan):
    """The plan of a deploy to this machine.

    Attributes:
        database: the database's image.
        wanted: the wanted services, including the migration.
        changes: what happens to each service.
        migration: the key of the migration that would run.
        migrate: why the database is migrated, or an empty string.
        seed: whether the secrets have to be generated.
        leftovers: ids of containers that an interrupted run left behind.
        lacks_uploads: whether uploads of its seed, which it shares, are not there.
    """

    record: ComposeRecord | None
    database: str
    wanted: Mapping[str, WantedService]
    changes: tuple[ServiceChange, ...]
    migration: str
    migrate: str
    seed: bool
    leftovers: tuple[str, ...]
    lacks_uploads: bool = False

    @property
    def shares(self) -> bool:
        """Whether its seed's uploads are put where its branches share them: also anew."""
        return super().shares or self.lacks_uploads

    @property
    def images(self) -> dict[str, str]:
        """The images, by digest."""
        return {**super().images, "database": self.database}

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in order; empty if nothing has to be done."""
        steps = []
        if self.seed:
            steps.append(Step("create", "secrets", MISSING))
        if self.leftovers:
            steps.append(Step("remove", "other containers", "left by an interrupted run"))
        if self.record and self.record.asleep:
            steps.append(
                Step("wake", f"environment {self.request.names.branch}", str(self.record.asleep))
            )
        steps += self.sharing
        services = {change.service: self._step(change) for change in self.changes}
        steps.append(services.pop(DATABASE))
        database = f"database {self.request.names.database}"
        if self.request.restore:
            steps.append(Step("restore", database, self.request.restore.title))
        if self.migrate:
            steps.append(Step("migrate", database, self.migrate))
        steps += [*services.values(), *self.filling]
        return tuple(steps) if any(step.verb != "keep" for step in steps) else ()

    def verb(self, change: ServiceChange) -> str:
        """Return what happens to a service; a kept one is restarted if it must be quiesced."""
        if change.verb == "keep" and self.migrate and change.service in QUIESCED:
            return "restart"
        return change.verb

    def _step(self, change: ServiceChange) -> Step:
        verb = self.verb(change)
        reason = change.reason if verb == change.verb else "quiesced while migrating"
        return Step(verb, f"service {change.service}", reason)


def migration(services: Mapping[str, WantedService], code: str) -> str:
    """Return the key of a migration: it changes with the code and the configuration.

    Args:
        services: the wanted services.
        code: the content key of the image without its themes; empty if unknown, then the image
            itself is used.
    """
    return f"{code or services[MIGRATE].image} {services[MIGRATE].fingerprint}"


def migration_reason(done: str, record: ComposeRecord | None, image: str) -> str:
    """Return why a database has to be migrated, or an empty string if it need not be.

    Args:
        done: the key of the migration that would run.
        record: the environment's record, with the last migration's key.
        image: the image it would run in.
    """
    if record is None or not record.migrated:
        return "it was never migrated"
    if record.migrated.partition(" ")[0] != done.partition(" ")[0]:
        return f"new image {short_reference(image)}"
    if record.migrated != done:
        return "its configuration changed"
    return ""
