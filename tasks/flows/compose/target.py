"""The target of environments with ``target: compose``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

from tasks.adapters.docker.compose import Compose
from tasks.adapters.docker.engine import PROJECT, Container, Engine
from tasks.adapters.files.lock import Holder, Lock
from tasks.adapters.http import Response, Site
from tasks.adapters.process import Runner
from tasks.adapters.terminal.console import Activity, Work, plain
from tasks.core.compose.reconcile import (
    RESTARTING,
    Change,
    Present,
    Wanted,
    decide,
    keeps_restarting,
    order,
    wanted,
)
from tasks.core.environment import (
    BRANCH,
    CODE,
    ENVIRONMENT,
    RECORD,
    REPOSITORY,
    Owner,
    Record,
    Release,
    newest,
)
from tasks.core.errors import CommandError, DeadlineError, InputError, RegistryError, SuiteError
from tasks.core.images.migrations import MIGRATIONS, unavailable
from tasks.core.images.wait_messages import last, read
from tasks.core.names import Names
from tasks.core.settings import Patience, Settings, names_of
from tasks.flows import schedules
from tasks.flows.compose.diagnostics import save
from tasks.flows.compose.inventory import (
    State,
    is_replacement,
    read_state,
    summary,
    write_record,
)
from tasks.flows.compose.plan import (
    DATABASE,
    HELD,
    LAST_STEP,
    MIGRATE,
    REPLACING,
    LocalPlan,
    migration,
    migration_reason,
)
from tasks.flows.compose.platform import MAIL_ADDRESS, Platform
from tasks.flows.compose.removal import removals
from tasks.flows.compose.wait import wait_until_up
from tasks.flows.target import (
    Credentials,
    Part,
    RemovalPlan,
    Request,
    Summary,
    new_secrets,
    silently,
)

QUESTION_SECONDS = 60.0
"""How long a container may take to answer a question."""
UP_SECONDS = 300.0
"""How long all services of an environment may take to come up."""

MIGRATE_SECONDS = 3600
"""A migration of a large database takes its time; cutting it off would be worse."""

ADMIN = "admin"
SECRETS = "/run/secrets/mautic"
PHP = "fpm"
"""Where commands run unless another service is named."""
CRON = "cron"


@dataclass(frozen=True)
class Local:
    """The target of environments with ``target: compose``.

    Attributes:
        settings: the settings.
        environment: the environment's name in invoke.yaml.
        engine: the Docker Engine.
        runner: runs docker.
        root: the checkout.
        platform: what the environments share.
        images: returns the mautic and the nginx image of a tag, by digest; raises RegistryError.
        base: returns, for a public image's reference, one that the engine has or can pull.
        work: shows a piece of work.
    """

    settings: Settings
    environment: str
    engine: Engine
    runner: Runner
    root: Path
    platform: Platform
    images: Callable[[str], Mapping[str, str]]
    base: Callable[[str], str]
    work: Work

    is_private: ClassVar = True
    # They share images, and each keeps what another one runs.
    removed_at_once: ClassVar = 1

    # -- before -------------------------------------------------------------------------------

    def exclusive(
        self, names: Names, me: Holder, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return Lock(names.namespace).held(me, waiting)

    @property
    def _patience(self) -> Patience:
        return self.settings.environment(self.environment).patience

    @property
    def smoke_seconds(self) -> float:
        """How long a site whose services are all up may still answer with an error."""
        return self._patience.smoke_seconds

    def prepare(self, request: Request) -> None:
        """Start the platform, its registry first where the environment's images are in it."""
        if self._registry_is_local:
            self.platform.ensure_registry()
        self.platform.ensure()

    @property
    def _registry_is_local(self) -> bool:
        return self.platform.owns(self.settings.environment(self.environment).registry.url)

    def plan_deploy(self, request: Request) -> LocalPlan:
        """Return what a deploy would do; reads only.

        Raises:
            RegistryError: there are no images of that tag.
            RefusedError: the environment is somebody else's.
            InputError: there is nothing to roll back to.
        """
        state = read_state(self.engine, request.names.namespace, request.of)
        release = replace(
            self._release(request, state.record),
            owner=request.owner,
            deployed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        database = self._database(state.record)
        services = self._wanted(request, release, database)
        done = migration(services, self._code(release.mautic))
        return LocalPlan(
            request=request,
            release=release,
            record=state.record,
            database=database,
            expires_at=self.settings.environment(self.environment).expires_at(release.deployed_at),
            wanted=services,
            changes=self._changes(services, state),
            migration=done,
            migrate=migration_reason(done, state.record, release.mautic),
            seed=self._lacks_secrets(request, state),
            leftovers=tuple(item.id for item in state.leftovers),
        )

    def _changes(self, services: Mapping[str, Wanted], state: State) -> tuple[Change, ...]:
        present = {
            name: Present(item.image, RESTARTING if self._restarts(item) else item.state)
            for name, item in state.services.items()
        }
        recorded = state.record.services if state.record else {}
        running = [service for name, service in services.items() if name != MIGRATE]
        return decide(order(running), present, recorded)

    def _restarts(self, container: Container) -> bool:
        seen = self.engine.observe(container.id)
        stability = timedelta(seconds=self._patience.stability_seconds)
        return seen is not None and keeps_restarting(seen, stability, datetime.now(UTC))

    def _release(self, request: Request, record: Record | None) -> Release:
        """Return the release a request means, with its images by digest."""
        history = record.history if record else ()
        if request.rollback and (earlier := request.earlier(history)):
            return earlier
        if self._registry_is_local and not self.platform.has_registry():
            raise RegistryError("nothing was built on this machine yet", hint="run inv build")
        images = self.images(request.tag)
        return Release(request.tag, request.commit, images["mautic"], images["nginx"], "", "")

    def _code(self, image: str) -> str:
        """Return what all of an image but its themes is known by, or an empty string.

        It is unknown before the image was pulled, and when something was built on top of it, which
        has all of its labels too.
        """
        labels = self.engine.image_labels(image)
        if not labels or self.engine.last_step(image) != LAST_STEP:
            return ""
        return labels.get(CODE, "")

    def _database(self, record: Record | None) -> str:
        """Return the database's image; once chosen it stays until the setting changes."""
        setting = self.settings.platform.database_image
        if record and record.database and record.database_image == setting:
            return record.database
        return self.base(setting)

    def _lacks_secrets(self, request: Request, state: State) -> bool:
        volume = f"{request.names.namespace}_secrets"
        if volume not in state.volumes:
            if state.record and state.record.current:
                raise SuiteError(
                    f"the secrets of {request.names.branch} are gone (volume {volume}), "
                    "and its database cannot be opened without them",
                    hint=f"start over: inv cleanup --branch {request.names.branch}",
                )
            return True
        # They are written before the record says that they are.
        return state.record is None or not state.record.migrated

    # -- deploying ----------------------------------------------------------------------------

    def apply(self, plan: LocalPlan) -> None:
        """Bring everything to what the plan wants.

        Raises:
            SuiteError: it did not work; the message names the cause.
        """
        names = plan.request.names
        compose = self._compose(plan.request, plan.release, plan.database)
        # Known from here on, so that no line of any log shows them.
        self._secrets(names)
        self._pull(plan)
        replaced = {item.service for item in plan.changes if item.verb in REPLACING}
        record = plan.record or Record("deploying", names.url)
        record = replace(
            record,
            state="deploying",
            url=names.url,
            expires_at=plan.expires_at,
            database_image=self.settings.platform.database_image,
            database=plan.database,
            # What is about to be replaced is unknown until it has been: a run that is cut off
            # here must not take it for done.
            services={name: at for name, at in record.services.items() if name not in replaced},
        )
        write_record(self.engine, plan.request.of, names, record)
        self._end_leftovers(plan.leftovers)
        if plan.seed:
            self._make_secrets(compose)
        held = [item.service for item in plan.changes if item.service in HELD and plan.migrate]
        if any(item.service in held and item.verb != "create" for item in plan.changes):
            with self.work("hold worker and cron") as activity:
                compose.stop(held, activity.line)
        self._bring_up(plan, compose, [DATABASE], "database")
        self._secrets(names)
        if plan.migrate:
            with self.work(f"migrate {names.database}") as activity:
                self._migrate(compose, activity)
            record = replace(record, migrated=plan.migration)
            write_record(self.engine, plan.request.of, names, record)
        rest = [item.service for item in plan.changes if item.service != DATABASE]
        self._bring_up(plan, compose, rest, "services")

    def _migrate(self, compose: Compose, activity: Activity) -> None:
        """Run the migration to its end, and pass on what it waits for.

        Raises:
            SuiteError: it failed; in its own words where it had any.
        """

        def tell(line: str) -> None:
            (activity.say if read(line) else activity.line)(line)

        try:
            compose.run(MIGRATE, tell, deadline_seconds=MIGRATE_SECONDS)
        except CommandError as error:
            words = last(error.output or "")
            if words and words.final:
                raise SuiteError(
                    f"the migration failed: {words.sentence}", output=error.output
                ) from error
            raise

    def finish(self, plan: LocalPlan) -> Credentials | None:
        """Remember the deployment; return the administrator after the first one."""
        names = plan.request.names
        before = read_state(self.engine, names.namespace, plan.request.of).record
        record = replace(
            before or Record("ready", names.url),
            expires_at=plan.expires_at,
            services={item.service: plan.wanted[item.service].fingerprint for item in plan.changes},
        ).with_release(plan.release)
        write_record(self.engine, plan.request.of, names, record)
        if not plan.first:
            return None
        password = self._secrets(names)["admin_password"]
        return Credentials(ADMIN, password, f'inv shell --command "cat {SECRETS}/admin_password"')

    def _pull(self, plan: LocalPlan) -> None:
        references = (plan.database, plan.release.mautic, plan.release.nginx)
        missing = [item for item in references if not self.engine.has_image(item)]
        if missing:
            with self.work("pull images") as activity:
                for reference in missing:
                    activity.say(reference)
                    self.engine.pull(reference, activity.line)

    def _bring_up(
        self, plan: LocalPlan, compose: Compose, services: Sequence[str], title: str
    ) -> None:
        changes = [item for item in plan.changes if item.service in services]
        replaced = [item.service for item in changes if item.verb in REPLACING]
        stopped = [item.service for item in changes if plan.verb(item) in {"start", "restart"}]
        with self.work(f"start {title}") as activity:
            for container in self._containers(plan.request.names):
                if is_replacement(container):
                    self.engine.remove_container(container.id)
            if replaced:
                compose.up(replaced, activity.line, recreate=True)
            if stopped:
                compose.up(stopped, activity.line, recreate=False)
            self._wait(plan.request.names, [item.service for item in changes], activity)

    def _wait(self, names: Names, services: Sequence[str], activity: Activity) -> None:
        wait_until_up(
            self.engine,
            lambda: [c for c in self._containers(names) if not is_replacement(c)],
            services,
            say=activity.say,
            stability_seconds=self._patience.stability_seconds,
            deadline_seconds=UP_SECONDS,
            hide=self.runner.redactor,
        )

    def _containers(self, names: Names) -> Sequence[Container]:
        return self.engine.containers(f"{PROJECT}={names.namespace}")

    def _make_secrets(self, compose: Compose) -> None:
        """Generate what is not there yet; what is there stays as it is."""
        made = new_secrets()
        for value in made.values():
            self.runner.redactor.add(value)
        with self.work("make secrets") as activity:
            lines = "".join(f"{name} {value}\n" for name, value in made.items())
            compose.run("secrets", activity.line, stdin=lines)

    def _secrets(self, names: Names) -> dict[str, str]:
        """Return the branch's secrets, and keep them out of everything shown from now on."""
        for container in self._containers(names):
            if container.service == DATABASE:
                found = self.engine.read_folder(container.id, SECRETS)
                for value in found.values():
                    self.runner.redactor.add(value)
                return found
        return {}

    def _end_leftovers(self, containers: Sequence[str]) -> None:
        if containers:
            with self.work("wait for what an interrupted run left behind"):
                for container in containers:
                    # A migration goes on by itself, and must not be cut off.
                    self.engine.wait(container, MIGRATE_SECONDS)
                    self.engine.remove_container(container)

    # -- after a failure ----------------------------------------------------------------------

    def save_evidence(self, names: Names, folder: Path) -> None:
        """Write every container's log and state into a folder, without secrets."""
        self._secrets(names)
        save(self.engine, names.namespace, folder, self.runner.redactor)

    def roll_back(self, plan: LocalPlan) -> str | None:
        """Bring the images of the last successful release back up.

        Raises:
            SuiteError: they do not come up either.
        """
        names = plan.request.names
        state = read_state(self.engine, names.namespace, plan.request.of)
        record = state.record
        if record is None:
            return None
        if record.current is None:
            write_record(self.engine, plan.request.of, names, replace(record, state="failed"))
            return None
        release = record.current
        compose = self._compose(plan.request, release, plan.database)
        services = self._wanted(plan.request, release, plan.database)
        back = replace(
            plan,
            release=release,
            wanted=services,
            changes=self._changes(services, state),
            migrate="",
        )
        self._bring_up(back, compose, [item.service for item in back.changes], "the release before")
        write_record(
            self.engine,
            plan.request.of,
            names,
            replace(
                record,
                state="rolled back",
                services={name: item.fingerprint for name, item in services.items()},
            ),
        )
        return release.tag

    def newer_migrations(self, of: Owner, names: Names) -> Sequence[str]:
        """Return the migrations that the database has seen and the code that runs does not have.

        Raises:
            SuiteError: the code that runs does not tell.
        """
        argv = ["docker", "exec", self._container(of, names, PHP), *MIGRATIONS]
        return unavailable(self.runner.run(argv, deadline=QUESTION_SECONDS).stdout)

    # -- removing -----------------------------------------------------------------------------

    def holds_images(self, *, dry: bool) -> bool:
        """Return True if there is a registry to remove images from.

        One that was never started holds nothing; unless dry, one that was is started.
        """
        if not self._registry_is_local:
            return True
        if not self.platform.has_registry():
            return False
        if not dry:
            self.platform.ensure_registry()
        return True

    def plan_removal(self, of: Owner, names: Names) -> RemovalPlan:
        """Return everything of the branch that the engine has.

        Raises:
            RefusedError: something of it is somebody else's.
        """
        todo = removals(self.engine, read_state(self.engine, names.namespace, of), names)
        return RemovalPlan(
            f"clean up {names.branch} in {names.environment}",
            tuple(step for step, _ in todo),
            tuple(silently(action) for _, action in todo),
        )

    # -- looking ------------------------------------------------------------------------------

    def get(self, names: Names, path: str) -> Response:
        """Ask the site for a path, through the proxy."""
        own = self.settings.platform
        host = names.url.partition("://")[2]
        return Site(own.address, own.http_port, host).get(path)

    def list(self) -> Sequence[Summary]:
        """Return the environments of this project on the engine, by branch."""
        containers: dict[str, list[Container]] = {}
        for item in self.engine.containers(BRANCH):
            containers.setdefault(item.project, []).append(item)
        records: dict[str, list[tuple[str, Mapping[str, str]]]] = {}
        for volume in self.engine.volumes(RECORD):
            records.setdefault(volume.project, []).append((volume.name, volume.labels))
        found = []
        for project in {*containers, *records}:
            own = containers.get(project, [])
            volumes = dict(records.get(project, []))
            latest = newest(volumes)
            labels = volumes[latest] if latest else own[0].labels
            names = self._names(labels)
            if names is None or names.namespace != project:
                continue
            record = Record.from_labels(labels) if latest else None
            repository = labels.get(REPOSITORY, "")
            found.append(summary(names, repository, record, own, Lock(project).holder()))
        return sorted(found, key=lambda item: item.branch)

    def status(self, of: Owner, names: Names) -> Sequence[Part]:
        """Return the services of one environment, by name."""
        state = read_state(self.engine, names.namespace, of)
        current = state.record.current if state.record else None
        tags = {current.mautic: current.tag, current.nginx: current.tag} if current else {}
        found = [
            Part(name, item.state, item.health, item.image, tags.get(item.image, ""), item.status)
            for name, item in sorted(state.services.items())
        ]
        cron = state.services.get(CRON)
        if cron is None or cron.state != "running":
            return found
        argv = ["docker", "exec", cron.id, *schedules.STATUS]
        try:
            done = self.runner.run(argv, cwd=self.root, check=False, deadline=QUESTION_SECONDS)
        except DeadlineError as error:
            return [*found, *schedules.unknown(error.message)]
        if done.returncode:
            return [*found, *schedules.unknown(done.stderr)]
        return [*found, *schedules.parts(done.stdout, datetime.now(UTC))]

    def logs(
        self,
        of: Owner,
        names: Names,
        on_line: Callable[[str], None],
        *,
        service: str,
        follow: bool,
        tail: int,
    ) -> None:
        """Pass on what the containers of services write, each line with its container's name.

        Raises:
            InputError: there is no such service.
        """
        if service:
            self._container(of, names, service)
        self._secrets(names)
        argv = ["docker", "compose", "--project-name", names.namespace, "logs", "--no-color"]
        argv += ["--tail", str(tail)]
        argv += ["--follow"] if follow else []
        argv += [service] if service else []
        self.runner.run(argv, cwd=self.root, on_line=lambda line: on_line(plain(line)))

    def execute(self, of: Owner, names: Names, words: Sequence[str], *, service: str) -> int:
        """Run a command in a service's container, on this terminal; return its exit status.

        Raises:
            InputError: there is no such service.
        """
        container = self._container(of, names, service or PHP)
        terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        return self.runner.interact(
            ["docker", "exec", "--interactive", *terminal, container, *words]
        )

    def _container(self, of: Owner, names: Names, service: str) -> str:
        services = read_state(self.engine, names.namespace, of).services
        if service not in services:
            raise InputError(
                f"{names.branch} has no service {service!r}",
                hint=f"it has: {', '.join(sorted(services))}",
            )
        return services[service].id

    # -- how ----------------------------------------------------------------------------------

    def _names(self, labels: Mapping[str, str]) -> Names | None:
        environment = labels.get(ENVIRONMENT, "")
        if environment != self.environment:
            return None
        try:
            return names_of(self.settings, environment, labels[BRANCH])
        except InputError:  # somebody else's: the suite deploys no such branch
            return None

    def _compose(self, request: Request, release: Release, database: str) -> Compose:
        """Return the branch's Compose project as a release has it.

        Args:
            request: whose it is.
            release: its images. One without a time leaves out who deployed it when: what the
                services are can be compared by that.
            database: the database's image.
        """
        names, of = request.names, request.of
        limits = self.settings.environment(self.environment).limits.model_dump()
        variables = {
            **{key.upper(): str(value) for key, value in limits.items()},
            "ENVIRONMENT": of.environment,
            "SLUG": of.slug,
            "BRANCH": of.branch,
            "REPOSITORY": of.repository,
            "MAUTIC_REF": release.mautic,
            "NGINX_REF": release.nginx,
            "DATABASE_REF": database,
            "SITE_URL": names.url,
            "DATABASE": names.database,
            "DATABASE_USER": names.database_user,
            "PLATFORM_NETWORK": self.platform.name,
            "ADMIN_USERNAME": ADMIN,
            "MAILER_DSN": f"smtp://{MAIL_ADDRESS}" if self.platform.has_mail() else "null://null",
            "COMMIT": "",
            "OWNER": "",
            "DEPLOYED_AT": "",
            "EXPIRES_AT": "",
        }
        if release.deployed_at:
            variables["COMMIT"] = release.commit
            variables["OWNER"] = release.owner
            variables["DEPLOYED_AT"] = release.deployed_at
            variables["EXPIRES_AT"] = self.settings.environment(self.environment).expires_at(
                release.deployed_at
            )
        file = self.root / "docker" / "compose.yaml"
        return Compose(self.runner, names.namespace, file, variables)

    def _wanted(self, request: Request, release: Release, database: str) -> dict[str, Wanted]:
        anonymous = replace(release, deployed_at="")
        compose = self._compose(request, anonymous, database)
        return wanted(compose.config(profiles=[MIGRATE]))
