"""The stand-ins of docker/standins: images made only from Debian packages.

They replace official images where Docker Hub cannot be reached. Each is stored under its recipe's
content key: in the registry's ``standins/`` repositories, where other machines find it; or, if it
is needed before there is a registry, in the engine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.adapters.docker import build_context
from tasks.adapters.docker.buildx import BakeOrder, Buildx, Definition
from tasks.adapters.docker.engine import Engine
from tasks.adapters.process import Completed, Runner
from tasks.adapters.registry.oci import OciRegistry, UnreachableError
from tasks.core.errors import CommandError, MissingToolError, RegistryError
from tasks.core.images.content_key import base_arguments, content_key, target_keys
from tasks.core.images.reference import HUB, Reference

if TYPE_CHECKING:
    from tasks.adapters.terminal.console import Activity

DEBIAN = "debian"
REGISTRY = "registry"

STANDIN = "io.mautic-multidev.standin"
"""The label of every stand-in, and of every image that is built on one."""

_FOLDER = "docker/standins"
_PATH = "standins"
"""Their path in a registry."""

_LOCAL = "mautic-multidev-standin"
"""Their prefix in the engine."""

_DEBOOTSTRAP_SECONDS = 1800
"""It takes a minute on a fast connection; debootstrap itself has no timeout."""

_FOR = {
    "library/debian": DEBIAN,
    "library/mysql": "database",
    "library/registry": REGISTRY,
    "mautic/mautic": "mautic",
}
"""The official images of Docker Hub that there are stand-ins for."""

_PASSED_ON = (
    *("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR", "DEBIAN_KEYRING"),
    *("http_proxy", "https_proxy", "no_proxy"),
)
"""Variables that sudo must keep for debian.sh."""


class Standins:
    """Finds the stand-ins, and makes those that are missing.

    Args:
        runner: runs docker and debootstrap.
        engine: stores those that are needed before there is a registry.
        root: the checkout.
        host: host and port of the registry that stores them.
        suite: the Debian release they are made from.
        work: shows a long piece of work while it runs.
    """

    def __init__(
        self,
        runner: Runner,
        engine: Engine,
        root: Path,
        *,
        host: str,
        suite: str,
        work: Callable[[str], AbstractContextManager[Activity]],
    ) -> None:
        self._runner = runner
        self._root = root
        self._suite = suite
        self._work = work
        self._engine = engine
        self._buildx = Buildx(runner, root, f"{_FOLDER}/docker-bake.hcl")
        self._registry = OciRegistry(f"{host}/{_PATH}")
        self._found: dict[str, str] = {}

    def name_for(self, reference: Reference) -> str | None:
        """Return the name of the stand-in for an official image, or None when there is none."""
        name = _FOR.get(reference.repository) if reference.host == HUB else None
        if name == DEBIAN and reference.wanted != f"{self._suite}-slim":
            return None
        return name

    def find(self, name: str) -> str | None:
        """Return a stand-in's reference, or None while it has to be made. Reads only.

        Args:
            name: ``debian``, ``mautic``, ``database`` or ``registry``.

        Raises:
            RegistryError: the registry refused or failed. An unreachable one counts as empty.
        """
        if name not in self._found:
            reference = self._look(name)
            if reference is None:
                return None
            self._found[name] = reference
        return self._found[name]

    def image(self, name: str) -> str:
        """Return a stand-in's reference; make and publish it if it is missing.

        The registry's own stand-in is only stored in the engine.

        Args:
            name: ``debian``, ``mautic``, ``database`` or ``registry``.

        Raises:
            MissingToolError: debootstrap, or the right to run it, is missing.
            RegistryError: the registry cannot be reached, refused or failed.
            SuiteError: making it failed.
        """
        found = self.find(name)
        if found is None:
            if name != REGISTRY:
                self._registry.ping()  # before minutes are spent on making it
            make = {DEBIAN: self._publish_debian, REGISTRY: self._make_registry}
            found = make.get(name, partial(self._publish, name))()
            self._found[name] = found
        return found

    # -- reading ------------------------------------------------------------------------------

    def _look(self, name: str) -> str | None:
        if name == REGISTRY:
            local = self._name(name)
            return local if self._engine.has_image(local) else None
        try:
            digest = self._registry.digest(name, self._keys[name])
        except UnreachableError:
            return None
        return self._registry.reference(name, digest) if digest else None

    def _name(self, name: str) -> str:
        """Return what the engine calls a stand-in."""
        return f"{_LOCAL}/{name}:{self._keys[name]}"

    @cached_property
    def _definition(self) -> Definition:
        return self._buildx.definition(self._variables(), kept=True)

    @cached_property
    def _keys(self) -> Mapping[str, str]:
        """The content key of each recipe; the state of Debian's mirrors is not part of it."""
        script = (self._root / _FOLDER / "debian.sh").read_text()
        debian = content_key([script, self._suite, self._engine.platform])
        targets = self._definition.targets
        return {
            DEBIAN: debian,
            **target_keys(
                targets,
                read=partial(build_context.read, self._root),
                pins=dict.fromkeys(base_arguments(targets), debian),
                platform=self._engine.platform,
            ),
        }

    # -- creating -----------------------------------------------------------------------------

    def _variables(self, base: str = "") -> dict[str, str]:
        own = {"DEBIAN": self._suite, "REVISION": "", "SOURCE": "", "VERSION": ""}
        return {**own, "DEBIAN_IMAGE": base} if base else own

    def _publish(self, name: str) -> str:
        # One made of nothing but files needs no base.
        needs_base = base_arguments({name: self._definition.targets[name]})
        variables = self._variables(self.image(DEBIAN) if needs_base else "")
        reference = f"{self._registry.repository(name)}:{self._keys[name]}"
        with self._work(f"make the stand-in for {name}") as activity:
            baked = self._buildx.bake(
                {name: BakeOrder(reference)},
                variables=variables,
                on_line=activity.detail,
                on_step=activity.line,
            )
        return self._registry.reference(name, baked[name].digest)

    def _make_registry(self) -> str:
        variables = self._variables(self._make_debian())
        reference = self._name(REGISTRY)
        with self._work(f"make the stand-in for {REGISTRY}") as activity:
            self._buildx.bake(
                {REGISTRY: BakeOrder(reference)},
                variables=variables,
                push=False,
                on_line=activity.detail,
                on_step=activity.line,
            )
        return reference

    def _publish_debian(self) -> str:
        local = self._make_debian()
        public = f"{self._registry.repository(DEBIAN)}:{self._keys[DEBIAN]}"
        with self._work(f"publish the stand-in for {DEBIAN}") as activity:
            self._engine.push(local, public, activity.line)
        digest = self._registry.digest(DEBIAN, self._keys[DEBIAN])
        if digest is None:
            raise RegistryError(f"{public} was pushed, but the registry does not have it")
        return self._registry.reference(DEBIAN, digest)

    def _make_debian(self) -> str:
        """Return the Debian base in the engine; make it with debootstrap if it is missing."""
        local = self._name(DEBIAN)
        if self._engine.has_image(local):
            return local
        script = str(self._root / _FOLDER / "debian.sh")
        with (
            self._work(f"make the stand-in for debian:{self._suite}-slim") as activity,
            tempfile.TemporaryDirectory(prefix="inv-debian-", dir="/var/tmp") as scratch,
        ):
            tar = Path(scratch) / "root.tar"
            argv = [*_as_root(), "sh", script, self._suite, str(tar)]
            done = self._runner.run(
                argv, deadline=_DEBOOTSTRAP_SECONDS, on_line=activity.line, check=False
            )
            if done.returncode != 0:
                raise self._failure(done)
            self._engine.load(tar, local, labels=(STANDIN,))
        return local

    def _failure(self, done: Completed) -> CommandError | MissingToolError:
        """Return the error for a failed debian.sh; its exit statuses are listed at its top."""
        what = f"the stand-in for debian:{self._suite}-slim could not be made"
        output = self._runner.redactor(done.stderr)
        if done.returncode == 69:
            return MissingToolError(
                what,
                output=output,
                hint="apt-get install debootstrap debian-archive-keyring (`inv doctor` looks)",
            )
        if done.returncode == 77 or "sudo:" in done.stderr:
            return MissingToolError(
                f"{what}: debootstrap needs root",
                output=output,
                hint="run this once as root, or allow sudo without a password for it",
            )
        return self._runner.error(done, what=what)


def _as_root() -> list[str]:
    """Return the sudo prefix for a command that needs root; empty for root."""
    if os.geteuid() == 0:
        return []
    kept = [name for name in _PASSED_ON if name in os.environ]
    return ["sudo", "-n", *([f"--preserve-env={','.join(kept)}"] if kept else [])]
