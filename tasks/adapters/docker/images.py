"""The engine's own images, asked for and changed by the docker command, contexts and all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.docker.buildx import diagnose
from tasks.adapters.process import Runner

_QUICK_SECONDS = 60
_COPY_SECONDS = 900


@dataclass(frozen=True)
class LocalImage:
    """An image in the engine.

    Attributes:
        id: its id, the digest of its configuration.
        digests: what registries call it, as ``name@digest``; none for one made on this machine.
    """

    id: str
    digests: tuple[str, ...]


class LocalImages:
    """Looks into the engine that ``docker`` on the command line speaks to.

    Args:
        runner: runs docker.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def find(self, reference: str) -> LocalImage | None:
        """Return the engine's copy of an image, or None.

        Raises:
            EngineError: the engine cannot be reached.
        """
        argv = ["docker", "image", "inspect", "--format", "{{json .}}", reference]
        done = self._runner.run(argv, deadline=_QUICK_SECONDS, check=False)
        if done.returncode == 0:
            found = json.loads(done.stdout)
            return LocalImage(found["Id"], tuple(found["RepoDigests"] or ()))
        if "no such image" in done.stderr.lower():
            return None
        raise diagnose(self._runner, done)

    def load(self, tar: Path, reference: str) -> None:
        """Make an image of a root file system.

        Args:
            tar: the root file system.
            reference: what to call the image.

        Raises:
            EngineError: the engine cannot be reached, or its disk is full.
        """
        # A base without a command cannot be tried out by hand; the official ones have this.
        self._docker("import", "--change", 'CMD ["bash"]', str(tar), reference)

    def push(self, reference: str, public: str, on_line: Callable[[str], None]) -> None:
        """Push an image under another name.

        Args:
            reference: the image.
            public: its name in a registry, with a tag.
            on_line: called with each line of progress.

        Raises:
            RegistryError: the registry cannot be reached, refused or failed.
        """
        self._docker("tag", reference, public)
        try:
            self._docker("push", public, on_line=on_line)
        finally:
            self._docker("rmi", "--no-prune", public)

    def _docker(self, *args: str, on_line: Callable[[str], None] | None = None) -> None:
        argv = ["docker", *args]
        done = self._runner.run(argv, deadline=_COPY_SECONDS, on_line=on_line, check=False)
        if done.returncode != 0:
            raise diagnose(self._runner, done)
