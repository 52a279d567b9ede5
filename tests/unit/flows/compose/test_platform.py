"""What the platform of this machine starts, and whose registry it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tasks.adapters.docker.engine import Container
from tasks.core.compose.stages import PROJECT, SERVICE
from tasks.core.errors import RefusedError
from tasks.flows.compose import platform as flow
from tasks.flows.compose.own_image import PROXY, WAKER
from tasks.flows.compose.platform import PLATFORM, LocalPlatform
from tasks.flows.compose.waker import SERVICES
from tests.support.fake_engine import FakeCompose, FakeEngine, a_context

OWN, OTHER = "mautic-platform", "other-platform"


@dataclass
class Machine(FakeEngine):
    """An engine that has some images, with the platforms of two projects.

    Attributes:
        images: those that are there.
        socket: the path of its own.
    """

    images: set[str] = field(default_factory=set)
    socket: str = "/run/docker.sock"

    def has_image(self, reference: str) -> bool:
        return reference in self.images

    def publishing(self, port: int) -> list[Container]:
        return [item for item in self.there.values() if ("127.0.0.1", port) in item.ports]

    def add(self, project: str, service: str, port: int, image: str = "x", **labels: str) -> None:
        name = f"{project}-{service}-1"
        known = {PROJECT: project, SERVICE: service, **labels}
        ports = (("127.0.0.1", port),)
        status = "Up (healthy)"
        self.there[name] = Container(name, name, image, "running", status, known, ports)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The services of each start."""
    seen: list[list[str]] = []

    class Compose:
        def __init__(self, *_: Any) -> None:
            pass

        def up(self, services: Sequence[str], *_: Any, **__: Any) -> None:
            seen.append([*services])

    monkeypatch.setattr(flow, "Compose", Compose)
    monkeypatch.setattr(flow, "wait_until_up", lambda *_, **__: None)
    return seen


@pytest.fixture
def platform(machine: Machine) -> LocalPlatform:
    context, _ = a_context(machine, FakeCompose(machine))
    return context.platform


def test_the_mail_catcher_starts_once_its_image_is_there_although_the_proxy_runs(
    machine: Machine, platform: LocalPlatform, started: list[list[str]]
) -> None:
    proxy = PROXY.reference(platform.root)
    machine.add(OWN, "proxy", 8080, proxy)
    machine.images = {proxy}
    platform.ensure()
    assert started == []
    machine.images.add(platform.settings.platform.mail_image)
    platform.ensure()
    assert started == [["proxy", "mail"]]
    machine.add(OWN, "mail", platform.settings.platform.mail_port)
    platform.ensure()
    assert len(started) == 1


def test_the_waker_is_there_by_setting_alone(
    machine: Machine, platform: LocalPlatform, started: list[list[str]]
) -> None:
    proxy, waker = PROXY.reference(platform.root), WAKER.reference(platform.root)
    machine.images = {proxy, waker}
    machine.add(OWN, "proxy", 8080, proxy)
    platform.ensure()
    assert started == []
    own = platform.settings.platform.model_copy(update={"wake": True})
    wanting = replace(platform, settings=platform.settings.model_copy(update={"platform": own}))
    wanting.ensure()
    assert {"proxy", *SERVICES} <= set(started[0])
    assert len(started) == 1
    for name in SERVICES:
        machine.add(OWN, name, 0, waker)
    wanting.ensure()
    assert len(started) == 1
    # One of an earlier version of its sources is replaced.
    machine.add(OWN, "waker", 0, "another")
    wanting.ensure()
    assert len(started) == 2
    # It goes with the setting: it has the engine's socket.
    platform.ensure()
    assert set(platform.present()) == {"proxy"}
    assert len(started) == 2


def test_what_visitors_need_and_does_not_run_is_told(
    machine: Machine, platform: LocalPlatform
) -> None:
    machine.add(OWN, "proxy", 8080)
    # Without the setting nobody misses a waker; without its image nobody misses a mail catcher.
    assert platform.down() == []
    own = platform.settings.platform.model_copy(update={"wake": True})
    wanting = replace(platform, settings=platform.settings.model_copy(update={"platform": own}))
    machine.add(OWN, "gate", 0)
    machine.add(OWN, "waker", 0)
    assert wanting.down() == []
    killed = f"{OWN}-waker-1"
    machine.there[killed] = replace(machine.there[killed], state="exited", status="Exited (137)")
    machine.remove_container(f"{OWN}-proxy-1")
    assert wanting.down() == ["proxy is missing", "waker is exited"]


def test_the_registry_of_another_project_is_not_built_into(
    machine: Machine, platform: LocalPlatform
) -> None:
    machine.add(OTHER, "registry", 5050, **{PLATFORM: "true"})
    for host in ("localhost:5050", "127.0.0.1:5050"):
        with pytest.raises(RefusedError, match="is the registry of another project") as caught:
            platform.refuse_foreign(host)
    assert "platform.registry_port" in str(caught.value.hint)
    assert "registry's url" in str(caught.value.hint)


def test_any_other_registry_may_be_built_into(machine: Machine, platform: LocalPlatform) -> None:
    machine.add(OWN, "registry", 5051, **{PLATFORM: "true"})
    machine.add("infrastructure", "registry", 5000)
    for host in ("localhost:5051", "localhost:5000", "localhost", "registry.example.org:5050"):
        platform.refuse_foreign(host)
