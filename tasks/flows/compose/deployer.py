"""Creates and changes environments on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.adapters.docker.compose import Compose, stop
from tasks.adapters.http import Response, SiteClient
from tasks.adapters.process import Completed
from tasks.adapters.terminal.console import Activity
from tasks.core import door
from tasks.core.compose.record import ComposeRecord
from tasks.core.compose.stages import DATABASE, QUIESCED
from tasks.core.environment import Failure, Holder, Owner, Release, State
from tasks.core.errors import CommandError, SuiteError
from tasks.core.foresight import Foresight
from tasks.core.images.wait_messages import last_message, parse_message
from tasks.core.names import Names
from tasks.core.points import Migrations, Point
from tasks.flows.compose.context import SECRETS, ComposeContext
from tasks.flows.compose.data import ComposeData
from tasks.flows.compose.diagnostics import save_diagnostics
from tasks.flows.compose.foresee import foresee
from tasks.flows.compose.inventory import is_replacement, write_record
from tasks.flows.compose.plan import MIGRATE, REPLACING, ComposePlan
from tasks.flows.compose.planner import plan_changes, plan_deploy
from tasks.flows.compose.project import project, wanted_services
from tasks.flows.compose.wait import wait_until_up
from tasks.flows.data import Place
from tasks.flows.points import find_migrations, restoring
from tasks.flows.target import ADMIN, Credentials, Request, Say, new_secrets

UP_SECONDS = 300.0
"""Timeout of all services of an environment to come up."""

MIGRATE_SECONDS = 3600
"""Timeout of a migration: that of a large database takes long, and must not be interrupted."""


@dataclass(frozen=True)
class ComposeDeployer:
    """Creates and changes environments; errors as for ``Deployer``."""

    context: ComposeContext

    @property
    def smoke_seconds(self) -> float:
        """How long a site may still answer with an error after all services are up."""
        return self.context.own.patience.smoke_seconds

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return self.context.exclusive(names, me, warn)

    def prepare(self, request: Request) -> None:
        """Start the platform; first its registry, if the environment's images are in it."""
        if self.context.registry_is_local:
            self.context.platform.ensure_registry()
        self.context.platform.ensure()

    def plan_deploy(self, request: Request) -> ComposePlan:
        """Return what a deploy would do; reads only."""
        return plan_deploy(self.context, request)

    def foresee(self, plan: ComposePlan) -> Foresight:
        """Return what carrying out a plan changes, and what that depends on; reads only."""
        return foresee(self.context, plan)

    def begin(self, plan: ComposePlan) -> None:
        """Record that a deploy has begun, and with what data a new environment begins."""
        self._write(plan, self._begun(plan))

    def apply(self, plan: ComposePlan) -> None:
        """Carry out the plan."""
        names = plan.request.names
        compose = self._project(plan, plan.release)
        # From here on they are masked in all output.
        self.context.secrets(names)
        self._pull(plan)
        replaced = {item.service for item in plan.changes if item.verb in REPLACING}
        record = self._begun(plan)
        # Services that will be replaced are left out: if this run is interrupted, the next one must
        # not take them for up to date.
        kept = {name: at for name, at in record.services.items() if name not in replaced}
        record = replace(record, services=kept, asleep=None)
        self._write(plan, record)
        self._end_leftovers(plan.leftovers)
        if plan.seed:
            self._make_secrets(compose)
        quiesced = [item for item in plan.changes if item.service in QUIESCED and plan.migrate]
        if any(item.verb != "create" for item in quiesced):
            self._quiesce(compose, [item.service for item in quiesced])
        self._bring_up(plan, compose, [DATABASE], "database")
        self.context.secrets(names)
        if plan.request.restore:
            self._restore(plan, plan.request.restore)
        if plan.migrate:
            with self.context.work(f"migrate {names.database}") as activity:
                _migrate(compose, activity, plan.release.tag)
            record = replace(record, migrated=plan.migration)
            self._write(plan, record)
        rest = [item.service for item in plan.changes if item.service != DATABASE]
        self._bring_up(plan, compose, rest, "services")

    def hold(self, owner: Owner, names: Names, say: Say) -> None:
        """Stop workers and crons; the next deploy starts them."""
        services = self.context.inventory(owner, names).services
        held = [services[name].id for name in QUIESCED if name in services]
        if held:
            stop(self.context.runner, held)

    def finish(self, plan: ComposePlan) -> Credentials | None:
        """Record the deployment; return the administrator after the first one."""
        names = plan.request.names
        inventory = self.context.inventory(plan.request.owner, names)
        for volume in inventory.shown:
            # A killed `inv dev` has left it; no service uses it any more.
            self.context.engine.remove_volume(volume)
        record = replace(
            inventory.record or ComposeRecord(State.READY, names.url),
            expires_at=plan.expires_at,
            services={item.service: plan.wanted[item.service].fingerprint for item in plan.changes},
            asleep=None,
        ).with_release(plan.release)
        self._write(plan, record)
        if not plan.is_first:
            return None
        password = self.context.secrets(names)["admin_password"]
        return Credentials(ADMIN, password, self.password_command(names))

    def password_command(self, names: Names) -> str:
        """Return the command that shows the administrator's password."""
        return f'./inv shell {names.options} --command "cat {SECRETS}/admin_password"'

    @property
    def has_door(self) -> bool:
        """Whether a login stands in front of its sites."""
        return self.context.own.has_door

    @property
    def login_host(self) -> str:
        """Where strangers are sent: nowhere, nginx asks for the password."""
        return ""

    def get(self, names: Names, path: str, *, stranger: bool = False) -> Response:
        """Ask the site for a path, through the proxy."""
        own = self.context.settings.platform
        host = names.url.partition("://")[2]
        password = "" if stranger else self.context.door_password(names)
        return SiteClient(own.address, own.http_port, host).get(path, door.headers(password))

    # -- after a failure ----------------------------------------------------------------------

    def save_diagnostics(self, names: Names, folder: Path) -> None:
        """Write every container's log and state into a folder, without secrets."""
        self.context.secrets(names)
        save_diagnostics(self.context.engine, names.namespace, folder, self.context.runner.redactor)

    def roll_back(
        self, plan: ComposePlan, point: Point | None = None, failure: Failure | None = None
    ) -> str | None:
        """Roll back to the images of the last successful release, and to a snapshot."""
        request = plan.request
        inventory = self.context.inventory(request.owner, request.names)
        record = inventory.record
        if record is None:
            return None
        # Before the rollback, which may fail as well.
        record = record.with_failure(plan.release, failure)
        self._write(plan, record)
        if record.current is None:
            return None
        if point:
            self._quiesce(self._project(plan, plan.release), QUIESCED)
            self._restore(plan, point)
            inventory = self.context.inventory(request.owner, request.names)
        release = record.current
        compose = self._project(plan, release)
        services = wanted_services(self.context, request, release, plan.database, plan.data)
        changes = plan_changes(self.context, services, inventory)
        back = replace(plan, release=release, wanted=services, changes=changes, migrate="")
        self._bring_up(back, compose, [item.service for item in changes], "the release before")
        fingerprints = {name: item.fingerprint for name, item in services.items()}
        self._write(plan, replace(record, state=State.ROLLED_BACK, services=fingerprints))
        return release.tag

    def migrations(self, owner: Owner, names: Names) -> Migrations:
        """Return the migrations of the running code and of the database."""
        return find_migrations(Place(owner, names, ComposeData(self.context), self))

    def aside(self, plan: ComposePlan, words: Sequence[str], on_line: Say) -> str:
        """Run a program in a container of its own: PHP's may keep failing.

        Its image is that of the newer release, which knows what it has left.
        """
        current = plan.record.current if plan.record else None
        release = current if plan.request.rollback and current else plan.release
        compose = self._project(plan, release)
        return _run(compose, " ".join(words[-2:]), on_line, words=words).stdout

    # -- internals ----------------------------------------------------------------------------

    def _project(self, plan: ComposePlan, release: Release) -> Compose:
        """Return the plan's Compose project with the images of a release."""
        return project(self.context, plan.request, release, plan.database, plan.data)

    def _begun(self, plan: ComposePlan) -> ComposeRecord:
        """Return the environment's record when nothing of a deploy has happened yet."""
        url = plan.request.names.url
        return replace(
            plan.record or ComposeRecord(State.DEPLOYING, url),
            state=State.DEPLOYING,
            url=url,
            expires_at=plan.expires_at,
            database_image=self.context.settings.platform.database_image,
            database=plan.database,
            data=plan.data.choice,
            shares=plan.data.shares,
            registry=plan.registry,
        )

    def _quiesce(self, compose: Compose, services: Sequence[str]) -> None:
        with self.context.work("quiesce worker and cron") as activity:
            compose.stop(services, activity.detail)

    def _restore(self, plan: ComposePlan, point: Point) -> None:
        with self.context.work(f"restore {plan.request.names.database}") as activity:
            plan.restoring.run(lambda: self.aside(plan, restoring(point), activity.line))

    def _write(self, plan: ComposePlan, record: ComposeRecord) -> None:
        write_record(self.context.engine, plan.request.owner, plan.request.names, record)

    def _pull(self, plan: ComposePlan) -> None:
        engine = self.context.engine
        references = (plan.database, plan.release.mautic, plan.release.nginx)
        missing = [item for item in references if not engine.has_image(item)]
        if missing:
            with self.context.work("pull images") as activity:
                for reference in missing:
                    activity.note(reference)
                    engine.pull(reference, activity.detail)

    def _bring_up(
        self, plan: ComposePlan, compose: Compose, services: Sequence[str], title: str
    ) -> None:
        changes = [item for item in plan.changes if item.service in services]
        replaced = [item.service for item in changes if item.verb in REPLACING]
        stopped = [item.service for item in changes if plan.verb(item) in {"start", "restart"}]
        names = plan.request.names
        with self.context.work(f"start {title}") as activity:
            for container in self.context.containers(names):
                if is_replacement(container):
                    self.context.engine.remove_container(container.id)
            if replaced:
                compose.up(replaced, activity.detail, recreate=True)
            if stopped:
                compose.up(stopped, activity.detail, recreate=False)
            wait_until_up(
                self.context.engine,
                lambda: [c for c in self.context.containers(names) if not is_replacement(c)],
                [item.service for item in changes],
                say=activity.note,
                stability_seconds=self.context.own.patience.stability_seconds,
                deadline_seconds=UP_SECONDS,
                hide=self.context.runner.redactor,
            )

    def _make_secrets(self, compose: Compose) -> None:
        """Generate missing secrets; existing ones are kept."""
        made = new_secrets()
        for value in made.values():
            self.context.runner.redactor.add(value)
        with self.context.work("make secrets") as activity:
            lines = "".join(f"{name} {value}\n" for name, value in made.items())
            compose.run("secrets", activity.detail, stdin=lines)

    def _end_leftovers(self, containers: Sequence[str]) -> None:
        if containers:
            with self.context.work("wait for what an interrupted run left behind"):
                for container in containers:
                    # A migration may still be running, and must not be interrupted.
                    self.context.engine.wait(container, MIGRATE_SECONDS)
                    self.context.engine.remove_container(container)


def _migrate(compose: Compose, activity: Activity, tag: str) -> None:
    """Run the migration to its end, and report what it waits for.

    Raises:
        SuiteError: it failed; with its own message, if it wrote one.
    """

    def tell(line: str) -> None:
        (activity.say if parse_message(line) else activity.line)(line)

    _run(compose, "the migration", tell, variables={"MAUTIC_RELEASE": tag})


def _run(
    compose: Compose,
    title: str,
    on_line: Say,
    *,
    words: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Completed:
    """Run the service of the migration, or another program in its place.

    Raises:
        SuiteError: it failed; with its own message, if it wrote one.
    """
    try:
        return compose.run(
            *(MIGRATE, on_line),
            words=words,
            variables=variables,
            deadline_seconds=MIGRATE_SECONDS,
        )
    except CommandError as error:
        message = last_message(error.output or "")
        if message and message.final:
            raise SuiteError(f"{title} failed: {message.sentence}", output=error.output) from error
        raise
