"""The local platform: what all environments of one machine share, started when first needed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.docker.buildx import BakeOrder, Buildx
from tasks.adapters.docker.compose import Compose
from tasks.adapters.docker.engine import Container, Engine, stranded
from tasks.adapters.process import Runner
from tasks.adapters.terminal.console import Activity, Work
from tasks.core.compose.stages import PROJECT
from tasks.core.errors import CommandError, EngineError, RefusedError, RegistryError
from tasks.core.images.reference import is_loopback
from tasks.core.names import platform_name
from tasks.core.settings import Settings
from tasks.core.variables import PACKAGE_INDEX, given_variables
from tasks.flows.compose.own_image import PROXY, WAKER, OwnImage
from tasks.flows.compose.wait import wait_until_up
from tasks.flows.compose.waker import SERVICES, waker_variables

START_SECONDS = 90.0
PLATFORM = "io.mautic-multidev.platform"
"""The label of a platform's containers (docker/platform/compose.yaml)."""
MAIL_ADDRESS = "mail.mautic.internal:1025"

_TAKEN = re.compile(
    r":(\d+)(?:: bind)?(?: failed)?: (?:address already in use|port is already allocated)"
)


_OF_ITS_OWN = (
    "set platform.registry_port in invoke.yaml to a free port, and the registry's url of the "
    "environment to the same: localhost:PORT/mautic"
)


@dataclass(frozen=True)
class LocalPlatform:
    """The local platform: starts its services, and knows whether they run.

    Attributes:
        settings: project, ports and images.
        runner: runs docker.
        root: the checkout, with docker/platform.
        base: returns, for an image's reference, one that the engine has or can pull.
        exclusive: holds the platform's lock.
        work: shows a piece of work.
        locks: returns the folder of the suite's locks.
    """

    settings: Settings
    engine: Engine
    runner: Runner
    root: Path
    base: Callable[[str], str]
    exclusive: Callable[[], AbstractContextManager[None]]
    work: Work
    locks: Callable[[], Path]

    @property
    def name(self) -> str:
        """The name of its Compose project, and of its network."""
        return platform_name(self.settings.project)

    @property
    def registry(self) -> str:
        """Host and port of its registry."""
        return f"localhost:{self.settings.platform.registry_port}"

    def owns(self, url: str) -> bool:
        """Return True if a registry's URL is that of the platform's own registry."""
        port = self.settings.platform.registry_port
        return url.partition("/")[0] in {f"localhost:{port}", f"127.0.0.1:{port}"}

    def refuse_foreign(self, host: str) -> None:
        """Refuse a registry of this machine that the platform of another project has started.

        Args:
            host: the registry's host and port.

        Raises:
            RefusedError: it is of another project.
            EngineError: the engine cannot be reached.
        """
        _, _, port = host.rpartition(":")
        if not (is_loopback(host) and port.isdecimal()):
            return
        for item in self.engine.publishing(int(port)):
            if PLATFORM in item.labels and item.project != self.name:
                raise RefusedError(
                    f"{host} is the registry of another project on this machine: the container "
                    f"{item.name} publishes it",
                    hint=_OF_ITS_OWN,
                )

    def has_registry(self) -> bool:
        """Return True if the platform's registry was ever started, so it may have images."""
        return "registry" in self.present()

    def has_mail(self) -> bool:
        """Return True if there is a mail catcher."""
        return "mail" in self.present()

    def ensure_registry(self) -> None:
        """Start the registry unless it runs.

        Raises:
            EngineError: the engine is down, the registry's port is taken, or it does not start.
        """
        if not self._missing({"registry": self.settings.platform.registry_port}, {}):
            return
        with self.exclusive(), self.work("start the local registry") as activity:
            self._start(["registry"], activity)

    def ensure(self) -> None:
        """Start the proxy, the waker by setting, and a mail catcher whose image there is.

        What runs already stays. A waker that is no longer wanted is removed.

        An image of the latter that has come to this machine since is noticed; that it could be
        pulled is looked for with the proxy's start alone, for each deploy would wait for that.

        Raises:
            EngineError: the engine is down, a port is taken, or a service does not start.
        """
        if not self.settings.platform.wake:
            self._remove_waker()
        if not self.is_wanting():
            return
        with self.exclusive(), self.work("start the local platform") as activity:
            mail = ["mail"] if self._mail_image(activity) else []
            self._start([*self._for_visitors, *mail], activity)

    def is_wanting(self) -> bool:
        """Return True if ``ensure`` has something to start."""
        own = self.settings.platform
        ports = {"proxy": own.http_port}
        if self.has_mail() or self.engine.has_image(own.mail_image):
            ports["mail"] = own.mail_port
        images = {"proxy": PROXY.reference(self.root)}
        if own.wake:
            images |= dict.fromkeys(SERVICES, WAKER.reference(self.root))
        return self._missing(ports, images)

    def down(self) -> list[str]:
        """Return the services without which visitors are not served, and how each is."""
        present = self.present()
        return [
            f"{name} is {present[name].state if name in present else 'missing'}"
            for name in self._for_visitors
            if name not in present or present[name].state != "running"
        ]

    def present(self) -> dict[str, Container]:
        """Return its containers by service."""
        found = self.engine.containers(f"{PROJECT}={self.name}")
        return {container.service: container for container in found}

    def await_registry(self) -> None:
        """Wait until the registry, which has been started, is healthy.

        Raises:
            EngineError: it does not start.
        """
        self._await(["registry"], lambda _: None)

    # -- internals ----------------------------------------------------------------------------

    @property
    def _for_visitors(self) -> tuple[str, ...]:
        return ("proxy", *(SERVICES if self.settings.platform.wake else ()))

    def _missing(self, ports: Mapping[str, int], images: Mapping[str, str]) -> bool:
        """Return True if a service does not run, runs on another port or is of another image."""
        present = self.present()
        for service in {**ports, **images}:
            container = present.get(service)
            if container is None or container.health != "healthy":
                return True
            port = (self.settings.platform.address, ports.get(service))
            if service in ports and port not in container.ports:
                return True
            if images.get(service, container.image) != container.image:
                return True
        return False

    def _remove_waker(self) -> None:
        present = self.present()
        if there := [present[name] for name in SERVICES if name in present]:
            with self.exclusive():
                for container in there:
                    self.engine.remove_container(container.id)

    def _start(self, services: Sequence[str], activity: Activity) -> None:
        compose = Compose(
            self.runner,
            self.name,
            self.root / "docker" / "platform" / "compose.yaml",
            self._variables(services, activity),
        )
        profiles = ["mail"] if "mail" in services else []
        profiles += ["wake"] if "waker" in services else []
        for container in stranded(self.present().values(), self.engine.networks()):
            self.engine.remove_container(container.id)
        try:
            compose.up(services, activity.detail, profiles=profiles)
        except CommandError as error:
            taken = _TAKEN.search(error.output or "")
            if taken is None:
                raise
            raise self._port_taken(int(taken[1])) from error
        self._await(services, activity.line)

    def _await(self, services: Sequence[str], say: Callable[[str], None]) -> None:
        wait_until_up(
            self.engine,
            lambda: self.engine.containers(f"{PROJECT}={self.name}"),
            services,
            say=say,
            stability_seconds=0,
            deadline_seconds=START_SECONDS,
            hide=self.runner.redactor,
        )

    def _variables(self, services: Sequence[str], activity: Activity) -> dict[str, str]:
        own = self.settings.platform
        present = self.present()

        def image(service: str, setting: str) -> str:
            # Running services keep their images, so no registry is needed for them.
            if service in present and service not in services:
                return present[service].image
            if service in present and self.engine.has_image(present[service].image):
                return present[service].image
            return self.base(setting) if service in services else setting

        if "proxy" in services:
            self._build(PROXY, activity)
        waker = {}
        if "waker" in services:
            self._build(WAKER, activity)
            waker = {
                "ENTRANCE_REF": WAKER.reference(self.root),
                **waker_variables(self.engine, self.locks),
            }
        return {
            **waker,
            "REGISTRY_REF": image("registry", own.registry_image),
            "PROXY_REF": PROXY.reference(self.root),
            "MAIL_REF": image("mail", own.mail_image),
            "PLATFORM_NETWORK": self.name,
            "PLATFORM_ADDRESS": own.address,
            "REGISTRY_PORT": str(own.registry_port),
            "PROXY_PORT": str(own.http_port),
            "MAIL_PORT": str(own.mail_port),
        }

    def _mail_image(self, activity: Activity) -> bool:
        try:
            reference = self.base(self.settings.platform.mail_image)
        except (EngineError, RegistryError) as error:
            activity.outcome = "without a mail catcher"
            activity.note(
                f"no mail catcher: {error.message}; mails are discarded until the image is here: "
                f"docker pull {self.settings.platform.mail_image}"
            )
            return False
        return bool(reference)

    def _build(self, image: OwnImage, activity: Activity) -> None:
        """Build an image of the platform's own, unless it is there."""
        reference = image.reference(self.root)
        if self.engine.has_image(reference):
            return
        activity.note(f"building the image of the {image.target}")
        Buildx(self.runner, self.root, image.bake).bake(
            {image.target: BakeOrder(reference)},
            variables={
                "DEBIAN_IMAGE": self.base(f"debian:{self.settings.images.debian}-slim"),
                **given_variables(os.environ, *PACKAGE_INDEX),
            },
            push=False,
            on_line=activity.detail,
            on_step=activity.line,
        )

    def _port_taken(self, port: int) -> EngineError:
        own = self.settings.platform
        setting = {
            own.http_port: "http_port",
            own.registry_port: "registry_port",
            own.mail_port: "mail_port",
        }[port]
        holders = [item.name for item in self.engine.publishing(port)]
        if holders:
            who = f"the container {holders[0]} publishes it"
        else:
            who = f"a program of this machine listens on it (`ss -ltnp 'sport = :{port}'` tells)"
        hint = f"set platform.{setting} in invoke.yaml to a free port"
        if setting == "registry_port":
            hint = _OF_ITS_OWN
        return EngineError(
            f"port {port} of {own.address} is taken: {who}",
            hint=f"end that, or {hint}",
        )
