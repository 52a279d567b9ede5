"""The local platform's waker, which a visitor's browser asks: its image and what it is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.docker.buildx import BakeOrder, Buildx
from tasks.adapters.docker.engine import Engine
from tasks.adapters.files.digest import digest_of
from tasks.adapters.process import Runner
from tasks.adapters.terminal.console import Activity

SERVICES = ("gate", "waker")
"""In docker/platform/compose.yaml, with the profile ``wake``."""
BAKE = "docker/platform/entrance/docker-bake.hcl"
"""It is the program of a cluster's entrance."""
_SOURCES = ("docker/platform/entrance", "docker/apt", "tasks/core", "tasks/adapters/files")


@dataclass(frozen=True)
class LocalWaker:
    """The local platform's waker.

    Attributes:
        root: the checkout.
        debian: the image that its own is built on.
        locks: returns the folder of the suite's locks.
    """

    engine: Engine
    runner: Runner
    root: Path
    debian: Callable[[], str]
    locks: Callable[[], Path]

    def image(self) -> str:
        """Return its image, tagged with a hash of its sources."""
        return f"mautic-platform/entrance:{digest_of(self._sources(), self.root)[:16]}"

    def variables(self) -> dict[str, str]:
        """Return its variables of docker/platform/compose.yaml.

        Raises:
            EngineError: the engine has no socket on this machine.
            SuiteError: strangers can write to the folder of locks.
        """
        folder = self.locks()
        return {
            "ENTRANCE_REF": self.image(),
            "ENGINE_SOCKET": self.engine.socket,
            "LOCKS": str(folder),
            # Whose the lock files are: a group's, where several users share the folder.
            "LOCKS_USER": f"{os.getuid()}:{folder.stat().st_gid}",
        }

    def build(self, activity: Activity) -> None:
        """Build its image, unless it is there."""
        if self.engine.has_image(self.image()):
            return
        activity.say("building the waker's image")
        Buildx(self.runner, self.root, BAKE).bake(
            {"entrance": BakeOrder(self.image())},
            variables={"DEBIAN_IMAGE": self.debian(), **_given()},
            push=False,
            on_line=activity.detail,
            on_step=activity.line,
        )

    def _sources(self) -> Iterator[Path]:
        for folder in _SOURCES:
            for path in sorted((self.root / folder).rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path


def _given() -> dict[str, str]:
    names = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in names if os.environ.get(name)}
