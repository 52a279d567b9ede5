"""A Docker Engine in memory, and the `docker compose` of one branch's project on it.

For the order of things, and for what is remembered after each failure; what an engine really does
is tested on one (tests/e2e/test_local.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tasks.adapters.docker.engine import Container, DockerObject
from tasks.adapters.process import Completed
from tasks.adapters.terminal.console import Activity
from tasks.core.compose.reconcile import ObservedContainer
from tasks.core.compose.record import RECORD, ComposeRecord, owner_labels
from tasks.core.compose.stages import ONE_OFF, PROJECT, SERVICE
from tasks.core.errors import CommandError, SuiteError
from tasks.core.redact import Redactor
from tasks.core.settings import Settings, parse
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.plan import ComposePlan
from tasks.flows.compose.platform import LocalPlatform
from tasks.flows.compose.target import compose_target
from tasks.flows.target import Target, owner_of
from tests.support.fakes import NAMES, REQUEST
from tests.support.suite import ROOT

SERVICES = ("database", "web", "fpm", "worker", "cron")
LABELS = {**owner_labels(owner_of(NAMES, REQUEST.repository)), PROJECT: NAMES.namespace}
LONG_AGO = "2020-01-01T00:00:00Z"


@dataclass
class FakeEngine:
    """Containers and volumes, by name.

    Attributes:
        lacks: why images cannot be pulled; None if they are there.
    """

    there: dict[str, Container] = field(default_factory=dict)
    kept: dict[str, DockerObject] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    lacks: SuiteError | None = None

    def containers(self, label: str) -> list[Container]:
        key, _, value = label.partition("=")
        return [
            item
            for item in self.there.values()
            if key in item.labels and value in {"", item.labels[key]}
        ]

    def volumes(self, label: str | None = None) -> list[DockerObject]:
        key, _, value = (label or "").partition("=")
        return [
            item
            for item in self.kept.values()
            if not key or (key in item.labels and value in {"", item.labels[key]})
        ]

    def networks(self) -> list[DockerObject]:
        return []

    def has_image(self, reference: str) -> bool:
        return self.lacks is None

    def pull(self, reference: str, on_line: Callable[[str], None]) -> None:
        assert self.lacks
        raise self.lacks

    def image(self, reference: str) -> None:
        return None

    def observe(self, container: str) -> ObservedContainer:
        found = next(item for item in self.there.values() if item.id == container)
        known = (found.id, found.name, found.service, found.state)
        return ObservedContainer(*known, 0, "", 0, LONG_AGO, found.health, "")

    def inspect(self, container: str) -> dict[str, Any] | None:
        return None

    def logs(self, container: str, tail: int | None = None) -> str:
        return ""

    def read_folder(self, container: str, path: str) -> dict[str, str]:
        return self.secrets

    def wait(self, container: str, deadline_seconds: int) -> None:
        pass

    def create_volume(self, name: str, labels: Mapping[str, str]) -> None:
        self.kept[name] = DockerObject(name, labels)

    def remove_volume(self, name: str) -> None:
        self.kept.pop(name, None)

    remove_unused_volume = remove_volume

    def remove_container(self, container: str) -> None:
        self.there = {name: item for name, item in self.there.items() if item.id != container}

    def remove_network(self, name: str) -> None:
        pass

    def remove_image(self, reference: str) -> None:
        pass

    def run(self, service: str, image: str, *, one_off: bool = False, shows: bool = False) -> None:
        """Start a service's container, replacing an existing one."""
        name = f"{NAMES.namespace}-{service}-{'run-1' if one_off else '1'}"
        labels = {**LABELS, SERVICE: service, ONE_OFF: str(one_off)}
        id_ = f"{next(_IDS)}"
        self.there[name] = Container(id_, name, image, "running", "Up (healthy)", labels)


_IDS = itertools.count(1)


@dataclass
class FakeCompose:
    """A fake runner of `docker compose` that records its commands.

    Attributes:
        fails: errors by Compose's command and its first service, e.g. ``run migrate``.
    """

    engine: FakeEngine
    seen: list[str] = field(default_factory=list)
    fails: dict[str, CommandError] = field(default_factory=dict)
    redactor: Redactor = field(default_factory=Redactor)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str | None] | None = None,
        stdin: str = "",
        deadline: float | None = None,
        on_line: Callable[[str], None] | None = None,
        check: bool = True,
    ) -> Completed:
        words = list(argv)
        if words[1] == "exec":
            return self._execute(words)
        command = next(word for word in words if word in {"config", "up", "start", "stop", "run"})
        of_ids = {item.id: item.service for item in self.engine.there.values()}
        given = [of_ids.get(word, word) for word in words]
        services = [word for word in given if word in {*SERVICES, "migrate", "secrets"}]
        if command == "run":
            services = services[-1:]
            if {"snapshots", "undo"} & set(words):
                services = ["migrate", words[-1]]
        if command != "config":
            self.seen.append(f"{command} {' '.join(services)}")
        if error := self.fails.get(f"{command} {services[0]}" if services else command):
            raise error
        env = env or {}
        if command == "config":
            return Completed(tuple(words), 0, json.dumps(_config(env)), "", 0)
        if command == "run" and services == ["secrets"]:
            self.engine.secrets = dict(line.split(" ", 1) for line in stdin.splitlines())
            self.engine.create_volume(f"{NAMES.namespace}_secrets", LABELS)
        if command == "up":
            assert on_line
            on_line(" Container of a service  Created")
            shows = any(word.endswith("compose.dev.yaml") for word in words)
            for service in services:
                self.engine.run(service, _config(env)["services"][service]["image"])
            if shows:
                self.engine.create_volume(f"{NAMES.namespace}_dev-plugins", LABELS)
        if command in {"start", "stop"}:
            self._set_state(command, services)
        return Completed(tuple(words), 0, "", "", 0)

    def _set_state(self, command: str, services: Sequence[str]) -> None:
        state, status = ("running", "Up") if command == "start" else ("exited", "Exited (0)")
        for service in services:
            name = f"{NAMES.namespace}-{service}-1"
            # As Compose does: a start of what is missing is an error, a stop is not.
            if command == "start" or name in self.engine.there:
                changed = replace(self.engine.there[name], state=state, status=status)
                self.engine.there[name] = changed

    def pipe(
        self,
        argv: Sequence[str],
        *,
        source: Iterable[bytes],
        take: Callable[[bytes], None],
        on_line: Callable[[str], None],
    ) -> int:
        self._execute(list(argv))
        return 0

    def _execute(self, words: list[str]) -> Completed:
        """Record a command in a service's container: its last word but a number."""
        (service,) = [each.service for each in self.engine.there.values() if each.id in words]
        told = f"exec {service} {' '.join(words[words.index('sh') if 'sh' in words else -3 :])}"
        self.seen.append(told)
        if error := self.fails.get(told):
            raise error
        return Completed(tuple(words), 0, "", "", 0)


def _config(env: Mapping[str, str | None]) -> dict[str, Any]:
    images = {"database": env["DATABASE_REF"], "web": env["NGINX_REF"]}
    told = {key: value for key, value in env.items() if key in {"SITE_URL", "DEPLOYED_AT"}}
    names = (*SERVICES, "migrate")
    return {
        "services": {
            name: {"image": images.get(name, env["MAUTIC_REF"]), "environment": told}
            for name in names
        }
    }


def a_context(engine: FakeEngine, compose: FakeCompose) -> tuple[ComposeContext, list[str]]:
    """Return the context of an environment on a fake engine, and what a pipe shows of its work."""
    titles: list[str] = []

    @contextlib.contextmanager
    def work(title: str) -> Iterator[Activity]:
        titles.append(title)
        yield Activity(titles.append, titles.append, detail=lambda _: None)

    platform: Any = LocalPlatform(
        settings=SETTINGS,
        engine=engine,  # type: ignore[arg-type]
        runner=compose,  # type: ignore[arg-type]
        root=ROOT,
        base=_base,
        exclusive=contextlib.nullcontext,
        work=work,
        locks=Path,
    )
    context = ComposeContext(
        settings=SETTINGS,
        environment="local",
        engine=engine,  # type: ignore[arg-type]
        runner=compose,  # type: ignore[arg-type]
        root=Path(ROOT),
        platform=platform,
        find_images=lambda tag: {"mautic": f"m@sha256:{tag}", "nginx": f"n@sha256:{tag}"},
        base=_base,
        work=work,
    )
    return context, titles


def _base(reference: str) -> str:
    return f"{reference}@sha256:1"


def _settings() -> Settings:
    local = {
        "target": "compose",
        "branches": ["*"],
        "host": "{slug}.localhost",
        "registry": {"url": "registry.example.org/x"},
    }
    return parse({"project": "mautic", "environments": {"local": local}}, lambda path: "test")


SETTINGS = _settings()


class Deployed:
    """A target on a played engine, on which a branch is deployed."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.compose = FakeCompose(self.engine)
        context, _ = a_context(self.engine, self.compose)
        self.platform = context.platform
        self.target: Target[ComposePlan] = compose_target(context)
        self.deploy()
        self.compose.seen.clear()

    def deploy(self) -> ComposePlan:
        """Deploy the branch; return the plan."""
        plan = self.target.deployer.plan_deploy(REQUEST)
        if plan.steps:
            self.target.deployer.apply(plan)
        self.target.deployer.finish(plan)
        return plan

    @property
    def record(self) -> ComposeRecord:
        """What is stored of it."""
        (volume,) = self.engine.volumes(RECORD)
        return ComposeRecord.from_labels(volume.labels)
