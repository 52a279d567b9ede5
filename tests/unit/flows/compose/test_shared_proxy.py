"""The local platform, which branches with different settings share."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.adapters.docker.engine import Container
from tasks.adapters.terminal.console import Activity
from tasks.flows.compose.own_image import PROXY
from tasks.flows.compose.platform import LocalPlatform
from tests.support.fake_engine import SETTINGS
from tests.support.suite import ROOT


@dataclass(frozen=True)
class Noting(LocalPlatform):
    """A platform that notes the image of the proxy that it would start."""

    def _start(self, services: Any, activity: Activity) -> None:
        self.engine.started.append(PROXY.reference(ROOT))  # type: ignore[attr-defined]


def platform(debian: str, engine: Any) -> LocalPlatform:
    """Return the platform as a branch of that Debian sees it."""
    images = SETTINGS.images.model_copy(update={"debian": debian})
    work = contextlib.nullcontext(Activity(print, print))
    runner: Any = None
    own = SETTINGS.model_copy(update={"images": images})
    return Noting(own, engine, runner, ROOT, str, contextlib.nullcontext, lambda _: work, Path)


@pytest.mark.parametrize("debian", ["trixie", "bookworm"])
def test_the_proxy_is_not_replaced_by_a_branch_of_another_debian(debian: str) -> None:
    running: list[Container] = []
    engine = SimpleNamespace(containers=lambda _: running, has_image=lambda _: False, started=[])
    platform("trixie", engine).ensure()
    own = SETTINGS.platform
    for service, port in (("proxy", own.http_port), ("mail", own.mail_port)):
        labels = {"com.docker.compose.service": service}
        (image,) = engine.started
        ports = ((own.address, port),)
        status = "Up 3 minutes (healthy)"
        running.append(Container("1", service, image, "running", status, labels, ports))

    platform(debian, engine).ensure()

    assert len(engine.started) == 1
