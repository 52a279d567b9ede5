"""The context that the ports of this machine's environments share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.docker.engine import Container, Engine
from tasks.adapters.files.lock import FileLock
from tasks.adapters.process import Runner
from tasks.adapters.terminal.console import Work
from tasks.core import door
from tasks.core.compose.stages import DATABASE, PROJECT
from tasks.core.environment import Holder, Owner
from tasks.core.errors import InputError
from tasks.core.names import Names
from tasks.core.settings import Environment, Settings
from tasks.flows.compose.inventory import Inventory, read_inventory
from tasks.flows.compose.platform import LocalPlatform
from tasks.flows.target import FindImages, Say

SECRETS = "/run/secrets/mautic"
QUESTION_SECONDS = 60.0
"""Timeout of a command in a container that only reads."""


@dataclass(frozen=True)
class ComposeContext:
    """The environments of one environment of invoke.yaml on one Docker Engine.

    Attributes:
        environment: its name in invoke.yaml.
        runner: runs docker.
        root: the checkout.
        platform: what the environments share.
        base: returns, for a public image's reference, one that the engine has or can pull.
    """

    settings: Settings
    environment: str
    engine: Engine
    runner: Runner
    root: Path
    platform: LocalPlatform
    find_images: FindImages
    base: Callable[[str], str]
    work: Work

    @property
    def own(self) -> Environment:
        """The environment's own settings."""
        return self.settings.environment(self.environment)

    @property
    def registry_is_local(self) -> bool:
        """Whether the environment's images are in the platform's registry."""
        return self.platform.owns(self.own.registry.url)

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return FileLock(names.namespace).held(me, warn)

    def inventory(self, owner: Owner, names: Names) -> Inventory:
        """Return an environment's objects on the engine.

        Raises:
            RefusedError: an object has another owner.
        """
        return read_inventory(self.engine, names.namespace, owner)

    def containers(self, names: Names) -> Sequence[Container]:
        """Return the containers of a branch's Compose project."""
        return self.engine.containers(f"{PROJECT}={names.namespace}")

    def container(self, owner: Owner, names: Names, service: str) -> str:
        """Return the id of a service's container.

        Raises:
            InputError: there is no such service.
        """
        services = self.inventory(owner, names).services
        if service not in services:
            raise InputError(
                f"{names.branch} has no service {service!r}",
                hint=f"it has: {', '.join(sorted(services))}",
            )
        return services[service].id

    def door_password(self, names: Names) -> str:
        """Return the password of an environment's door; empty if it has none."""
        return door.password_of(self.secrets(names)) if self.own.has_password else ""

    def secrets(self, names: Names) -> dict[str, str]:
        """Return the branch's secrets, and mask them from now on."""
        for container in self.containers(names):
            if container.service == DATABASE:
                found = self.engine.read_folder(container.id, SECRETS)
                for value in found.values():
                    self.runner.redactor.add(value)
                return found
        return {}
