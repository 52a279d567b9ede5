"""The environments of this machine: one Compose project per branch, on the Docker Engine."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tasks.adapters.compose import Compose
from tasks.adapters.console import Activity, plain
from tasks.adapters.engine import PROJECT, Container, Engine
from tasks.adapters.http import Response, Site
from tasks.adapters.lock import Holder, Lock
from tasks.adapters.process import Runner
from tasks.core.converge import Change, Present, Wanted, decide, order, short, wanted
from tasks.core.errors import InputError, RefusedError, RegistryError, SuiteError
from tasks.core.naming import Names
from tasks.core.plan import Step
from tasks.core.record import BRANCH, ENVIRONMENT, RECORD, Owner, Record, Release, newest
from tasks.core.settings import Settings, names_of
from tasks.flows.platform import MAIL_ADDRESS, Platform
from tasks.flows.target import Credentials, Part, RemovalPlan, Request, Summary

UP_SECONDS = 300.0
"""How long all services of an environment may take to come up."""

MIGRATE_SECONDS = 3600
"""A migration of a large database takes its time; cutting it off would be worse."""

ADMIN = "admin"
SECRETS = "/run/secrets/mautic"
HELD = ("worker", "cron")
"""What must not run while the database is migrated."""

REPLACING = ("create", "update")
MIGRATE = "migrate"
DATABASE = "database"
PHP = "fpm"
"""Where commands run unless another service is named."""

Work = Callable[[str], AbstractContextManager[Activity]]


@dataclass(frozen=True)
class State:
    """What the engine has of one environment.

    Attributes:
        containers: its containers, those of `docker compose run` too.
        record: what is known of it, or None.
        records: the names of the volumes that hold records, old ones too.
        volumes: its other volumes.
        networks: its networks.
    """

    containers: tuple[Container, ...]
    record: Record | None
    records: tuple[str, ...]
    volumes: tuple[str, ...]
    networks: tuple[str, ...]

    @property
    def services(self) -> dict[str, Container]:
        """The containers of its services, by service."""
        return {item.service: item for item in self.containers if not item.one_off}

    @property
    def leftovers(self) -> tuple[Container, ...]:
        """Containers of `docker compose run` that an interrupted run left behind."""
        return tuple(item for item in self.containers if item.one_off)


@dataclass(frozen=True)
class LocalPlan:
    """What a deploy to this machine is going to do.

    Attributes:
        request: what is deployed.
        release: the images, and who deploys them when.
        record: what was known before.
        database: the database's image.
        expires_at: when the environment may be swept away, or an empty string.
        wanted: the services as they should run, the migration among them.
        changes: what happens to each service.
        migrate: why the database is migrated, or an empty string.
        seed: whether the secrets have to be made.
        leftovers: ids of containers that an interrupted run left behind.
    """

    request: Request
    release: Release
    record: Record | None
    database: str
    expires_at: str
    wanted: Mapping[str, Wanted]
    changes: tuple[Change, ...]
    migrate: str
    seed: bool
    leftovers: tuple[str, ...]

    @property
    def title(self) -> str:
        """What the plan is about."""
        verb = "roll back" if self.request.rollback else "deploy"
        names = self.request.names
        return f"{verb} {names.branch} to {names.environment} ({self.release.tag})"

    @property
    def first(self) -> bool:
        """Whether nothing was ever deployed successfully here."""
        return self.record is None or self.record.current is None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps, in order; empty when everything is as it should be."""
        steps = []
        if self.seed:
            steps.append(Step("create", "secrets", "they are not there"))
        if self.leftovers:
            steps.append(Step("remove", "one-off containers", "left by an interrupted run"))
        services = {change.service: self._step(change) for change in self.changes}
        steps.append(services.pop(DATABASE))
        if self.migrate:
            database = f"database {self.request.names.database}"
            steps.append(Step("migrate", database, self.migrate))
        steps += services.values()
        return tuple(steps) if any(step.verb != "keep" for step in steps) else ()

    def verb(self, change: Change) -> str:
        """Return what happens to a service; one that is kept may have to pause."""
        if change.verb == "keep" and self.migrate and change.service in HELD:
            return "restart"
        return change.verb

    def _step(self, change: Change) -> Step:
        verb = self.verb(change)
        reason = change.reason if verb == change.verb else "held while migrating"
        return Step(verb, f"service {change.service}", reason)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON-ready data."""
        return {
            "title": self.title,
            "branch": self.request.names.branch,
            "url": self.request.names.url,
            "tag": self.release.tag,
            "commit": self.release.commit,
            "images": {
                "mautic": self.release.mautic,
                "nginx": self.release.nginx,
                "database": self.database,
            },
            "steps": [asdict(step) for step in self.steps],
        }


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

    # -- before -------------------------------------------------------------------------------

    def exclusive(
        self, names: Names, me: Holder, waiting: Callable[[str], None]
    ) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return Lock(names.namespace).held(me, waiting)

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
        state = self._state(request.names.namespace, request.of)
        release = replace(
            self._release(request, state.record),
            owner=request.owner,
            deployed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        database = self._database(state.record)
        services = self._wanted(request, release, database)
        return LocalPlan(
            request=request,
            release=release,
            record=state.record,
            database=database,
            expires_at=self._expires_at(release.deployed_at),
            wanted=services,
            changes=self._changes(services, state),
            migrate=_migration_reason(_migration(services), state.record),
            seed=self._lacks_secrets(request, state),
            leftovers=tuple(item.id for item in state.leftovers),
        )

    def _changes(self, services: Mapping[str, Wanted], state: State) -> tuple[Change, ...]:
        present = {name: Present(item.image, item.state) for name, item in state.services.items()}
        recorded = state.record.services if state.record else {}
        running = [service for name, service in services.items() if name != MIGRATE]
        return decide(order(running), present, recorded)

    def _release(self, request: Request, record: Record | None) -> Release:
        """Return the release a request means, with its images by digest."""
        history = record.history if record else ()
        if request.rollback:
            current = record.current if record else None
            for release in reversed(history[:-1]):
                if release.tag == request.tag or not request.tag:
                    return release
            if not request.tag or (current and current.tag == request.tag):
                tags = ", ".join(release.tag for release in history) or "nothing"
                raise InputError(
                    f"there is no earlier release of {request.names.branch} to go back to",
                    hint=f"deployed so far: {tags}",
                )
        if self._registry_is_local and not self.platform.has_registry():
            raise RegistryError("nothing was built on this machine yet", hint="run inv build")
        images = self.images(request.tag)
        return Release(request.tag, request.commit, images["mautic"], images["nginx"], "", "")

    def _database(self, record: Record | None) -> str:
        """Return the database's image; once chosen it stays until the setting changes."""
        setting = self.settings.platform.database_image
        if record and record.database and record.database_image == setting:
            return record.database
        return self.base(setting)

    def _expires_at(self, deployed_at: str) -> str:
        hours = self.settings.environment(self.environment).ttl_hours
        if not hours:
            return ""
        return (datetime.fromisoformat(deployed_at) + timedelta(hours=hours)).isoformat()

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
        self._write_record(plan.request.of, names, record)
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
                compose.run(MIGRATE, activity.line, deadline_seconds=MIGRATE_SECONDS)
            record = replace(record, migrated=_migration(plan.wanted))
            self._write_record(plan.request.of, names, record)
        rest = [item.service for item in plan.changes if item.service != DATABASE]
        self._bring_up(plan, compose, rest, "services")

    def finish(self, plan: LocalPlan) -> Credentials | None:
        """Remember the deployment; return the administrator after the first one."""
        names = plan.request.names
        before = self._state(names.namespace, plan.request.of).record
        record = replace(
            before or Record("ready", names.url),
            expires_at=plan.expires_at,
            services={item.service: plan.wanted[item.service].fingerprint for item in plan.changes},
        ).with_release(plan.release)
        self._write_record(plan.request.of, names, record)
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
            if replaced:
                compose.up(replaced, activity.line, recreate=True)
            if stopped:
                compose.up(stopped, activity.line, recreate=False)
            self._wait(plan.request.names, [item.service for item in changes], activity)

    def _wait(self, names: Names, services: Sequence[str], activity: Activity) -> None:
        from tasks.flows.waiting import wait_until_up

        wait_until_up(
            self.engine,
            lambda: self.engine.containers(f"{PROJECT}={names.namespace}"),
            services,
            say=activity.say,
            deadline_seconds=UP_SECONDS,
            hide=self.runner.redactor,
        )

    def _make_secrets(self, compose: Compose) -> None:
        """Generate what is not there yet; what is there stays as it is."""
        made = {
            "db_password": secrets.token_urlsafe(24),
            "db_root_password": secrets.token_urlsafe(24),
            "secret_key": secrets.token_hex(32),
            "admin_password": secrets.token_urlsafe(15),
        }
        for value in made.values():
            self.runner.redactor.add(value)
        with self.work("make secrets") as activity:
            lines = "".join(f"{name} {value}\n" for name, value in made.items())
            compose.run("secrets", activity.line, stdin=lines)

    def _secrets(self, names: Names) -> dict[str, str]:
        """Return the branch's secrets, and keep them out of everything shown from now on."""
        for container in self.engine.containers(f"{PROJECT}={names.namespace}"):
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
        hide = self.runner.redactor
        folder.mkdir(parents=True, exist_ok=True)
        for container in self.engine.containers(f"{PROJECT}={names.namespace}"):
            found = self.engine.inspect(container.id)
            if found is None:
                continue
            shown = {
                "name": container.name,
                "image": container.image,
                "restarts": found["RestartCount"],
                "state": found["State"],
                "command": found["Config"]["Cmd"],
                "mounts": found["Mounts"],
            }
            at = folder / container.name
            at.with_suffix(".json").write_text(hide(json.dumps(shown, indent=2)))
            at.with_suffix(".log").write_text(hide(self.engine.logs(container.id)))

    def roll_back(self, plan: LocalPlan) -> str | None:
        """Bring the images of the last successful release back up.

        Raises:
            SuiteError: they do not come up either.
        """
        names = plan.request.names
        state = self._state(names.namespace, plan.request.of)
        record = state.record
        if record is None:
            return None
        if record.current is None:
            self._write_record(plan.request.of, names, replace(record, state="failed"))
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
        self._write_record(
            plan.request.of,
            names,
            replace(
                record,
                state="rolled back",
                services={name: item.fingerprint for name, item in services.items()},
            ),
        )
        return release.tag

    # -- removing -----------------------------------------------------------------------------

    def holds_images(self, *, dry: bool) -> bool:
        """Say whether there is a registry to remove images from; unless dry, start the local one.

        One that was never started holds nothing.
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
        state = self._state(names.namespace, of)
        engine = self.engine
        todo: list[tuple[Step, Callable[[], object]]] = [
            (Step("remove", f"container {item.name}"), partial(engine.remove_container, item.id))
            for item in state.containers
        ]
        for name in state.networks:
            todo.append((Step("remove", f"network {name}"), partial(engine.remove_network, name)))
        for image in self._images_of(state, names):
            step = Step("remove", f"image {short(image)}", "this engine's copy")
            todo.append((step, partial(engine.remove_image, image)))
        # The record goes last: while it is there, an interrupted clean-up is known to be ours.
        for name in (*state.volumes, *state.records):
            step = Step("remove", f"volume {name}", _contents(name, names))
            todo.append((step, partial(engine.remove_volume, name)))
        return RemovalPlan(
            f"clean up {names.branch} in {names.environment}",
            tuple(step for step, _ in todo),
            tuple(action for _, action in todo),
        )

    def _images_of(self, state: State, names: Names) -> list[str]:
        """Return the images in the engine that no other environment runs."""
        history = state.record.history if state.record else ()
        own = {image for release in history for image in (release.mautic, release.nginx)}
        others = {
            item.image for item in self.engine.containers(BRANCH) if item.project != names.namespace
        }
        return sorted(image for image in own - others if self.engine.has_image(image))

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
            found.append(_summary(names, record, own, Lock(project).holder()))
        return sorted(found, key=lambda item: item.branch)

    def status(self, of: Owner, names: Names) -> Sequence[Part]:
        """Return the services of one environment, by name."""
        state = self._state(names.namespace, of)
        current = state.record.current if state.record else None
        tags = {current.mautic: current.tag, current.nginx: current.tag} if current else {}
        return [
            Part(name, item.state, item.health, item.image, tags.get(item.image, ""), item.status)
            for name, item in sorted(state.services.items())
        ]

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
        services = self._state(names.namespace, of).services
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

    def _state(self, project: str, of: Owner) -> State:
        """Return what the engine has of a project.

        Raises:
            RefusedError: some of it is not the owner's.
        """
        containers = self.engine.containers(f"{PROJECT}={project}")
        volumes = [
            item
            for item in self.engine.volumes()
            if item.project == project or item.name.startswith(f"{project}_")
        ]
        networks = [
            item
            for item in self.engine.networks()
            if item.project == project or item.name.startswith(f"{project}_")
        ]
        for kind, objects in (
            ("container", containers),
            ("volume", volumes),
            ("network", networks),
        ):
            for item in objects:
                difference = of.difference(item.labels)
                if difference:
                    raise RefusedError(
                        f"{kind} {item.name} is not {of.branch}'s: {difference}",
                        hint="nothing was touched; `docker inspect` shows its labels",
                    )
        records = {item.name: item.labels for item in volumes if RECORD in item.labels}
        latest = newest(records)
        return State(
            containers=tuple(containers),
            record=Record.from_labels(records[latest]) if latest else None,
            records=tuple(records),
            volumes=tuple(item.name for item in volumes if item.name not in records),
            networks=tuple(item.name for item in networks),
        )

    def _write_record(self, of: Owner, names: Names, record: Record) -> None:
        old = [item.name for item in self.engine.volumes(f"{PROJECT}={names.namespace}")]
        labels = {**of.labels(), **record.to_labels(), PROJECT: names.namespace}
        prefix = f"{names.namespace}_record-"
        self.engine.create_volume(f"{prefix}{time.time_ns()}", labels)
        for name in old:
            if name.startswith(prefix):
                self.engine.remove_volume(name)

    def _compose(self, request: Request, release: Release, database: str) -> Compose:
        """Return the branch's Compose project as a release has it.

        Args:
            request: whose it is.
            release: its images. One without a time leaves out who deployed it when: what the
                services are can be compared by that.
            database: the database's image.
        """
        names, of = request.names, request.of
        variables = {
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
            variables["EXPIRES_AT"] = self._expires_at(release.deployed_at)
        file = self.root / "docker" / "compose.yaml"
        return Compose(self.runner, names.namespace, file, variables)

    def _wanted(self, request: Request, release: Release, database: str) -> dict[str, Wanted]:
        anonymous = replace(release, deployed_at="")
        compose = self._compose(request, anonymous, database)
        return wanted(compose.config(profiles=[MIGRATE]))


def _migration(services: Mapping[str, Wanted]) -> str:
    """Return what stands for a migration: its image, and what it is told."""
    return f"{services[MIGRATE].image} {services[MIGRATE].fingerprint}"


def _migration_reason(done: str, record: Record | None) -> str:
    if record is None or not record.migrated:
        return "it was never migrated"
    if record.migrated.partition(" ")[0] != done.partition(" ")[0]:
        return f"new image {short(done.partition(' ')[0])}"
    if record.migrated != done:
        return "its configuration changed"
    return ""


def _contents(volume: str, names: Names) -> str:
    return f"database {names.database}" if volume.endswith("_database") else ""


_DOING = {"deploy": "deploying", "rollback": "deploying", "cleanup": "removing"}


def _summary(
    names: Names, record: Record | None, containers: Sequence[Container], holder: Holder | None
) -> Summary:
    current = record.current if record else None
    running = [item for item in containers if item.state == "running" and not item.one_off]
    services = [item for item in containers if not item.one_off]
    if holder is not None:
        state = _DOING.get(holder.action, "changing")
    elif record is None or record.state == "deploying":
        state = "interrupted"
    elif record.state == "failed":
        state = "failed"
    elif not running:
        state = "stopped"
    elif len(running) < len(services) or any(item.health == "unhealthy" for item in running):
        state = "degraded"
    else:
        state = "running" if record.state == "ready" else record.state
    return Summary(
        branch=names.branch,
        slug=names.slug,
        url=names.url,
        state=state,
        tag=current.tag if current else "",
        commit=current.commit if current else "",
        owner=current.owner if current else "",
        deployed_at=current.deployed_at if current else "",
        expires_at=record.expires_at if record else "",
    )
