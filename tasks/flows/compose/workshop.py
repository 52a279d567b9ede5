"""Shows a working tree's files on this machine: in volumes that the services of a branch share.

Not as bind mounts of the tree: those know nothing of a plugin that is laid over the release's, or
of a folder that is new; they hide what Mautic's user may not read of the tree, and an engine on
another machine has none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from tasks.adapters.docker import compose
from tasks.adapters.docker.layer import build_layer
from tasks.core.compose.record import ComposeRecord
from tasks.core.compose.stages import PHP, QUIESCED
from tasks.core.environment import Holder, Owner, Release
from tasks.core.environment_data import begun
from tasks.core.errors import CommandError, SuiteError
from tasks.core.names import Names
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.inventory import is_replacement, write_record
from tasks.flows.compose.project import project, wanted_services
from tasks.flows.compose.wait import wait_until_up
from tasks.flows.target import Request, Say
from tasks.flows.views import absent_error
from tasks.flows.workshop_words import (
    INSTALL,
    LIST,
    REMOVE,
    RESTART,
    UNPACK,
    WARM_UP,
    compiling,
    listed,
)

SHOWING = (PHP, *QUIESCED, "web")
"""The services that show a tree. The first one's image fills the volumes."""
DEBUG_IMAGE = "mautic-multidev-debug/mautic"
"""The engine's images with Xdebug, each tagged by the digest of the one that it is made of."""
UP_SECONDS = 300.0
"""Timeout of the services to come up."""
COMPILE_SECONDS = 300.0
"""Timeout of a command in PHP's container."""


@dataclass(frozen=True)
class ComposeWorkshop:
    """Opens environments for a working tree; errors as for ``Workshop``."""

    context: ComposeContext

    def exclusive(self, names: Names, me: Holder, warn: Say) -> AbstractContextManager[None]:
        """Hold the branch's lock on this machine."""
        return self.context.exclusive(names, me, warn)

    def is_open(self, owner: Owner, names: Names) -> bool:
        """Return True if a volume is there with a tree's files."""
        return bool(self.context.inventory(owner, names).shown)

    def open(self, owner: Owner, names: Names, *, debugger: bool) -> None:
        """Replace the services by such that share volumes for what is shown."""
        record, release = self._deployed(owner, names)
        if debugger:
            release = replace(release, mautic=self._with_debugger(release.mautic))
        # The next deploy takes none of them for up to date.
        kept = {name: key for name, key in record.services.items() if name not in SHOWING}
        write_record(self.context.engine, owner, names, replace(record, services=kept))
        with self.context.work("open the environment") as activity:
            self._start(owner, names, record, release, shows=True, say=activity.note)

    def _with_debugger(self, image: str) -> str:
        """Return an image that has Xdebug; it is made if the engine lacks it."""
        made = f"{DEBUG_IMAGE}:{image.rpartition(':')[2][:16]}"
        if not self.context.engine.has_image(made):
            docker = self.context.root / "docker"
            with self.context.work("add Xdebug") as activity:
                build_layer(
                    self.context.runner,
                    docker / "mautic" / "debug.Dockerfile",
                    made,
                    contexts={"apt": docker / "apt"},
                    arguments={"MAUTIC": image, "PHP": self.context.settings.images.php},
                    on_line=activity.line,
                )
        return made

    def hashes(self, owner: Owner, names: Names) -> Mapping[str, str]:
        """Return what lies in the volumes."""
        container = self.context.container(owner, names, PHP)
        done = compose.execute(
            self.context.runner, container, LIST, deadline_seconds=COMPILE_SECONDS
        )
        return listed(done.stdout)

    def write(self, owner: Owner, names: Names, files: bytes, gone: Sequence[str]) -> None:
        """Write into the volumes, as root: Mautic's own user cannot."""
        container = self.context.container(owner, names, PHP)
        if gone:
            self._feed(container, REMOVE, "".join(f"{place}\0" for place in gone).encode())
        self._feed(container, UNPACK, files)

    def _feed(self, container: str, words: Sequence[str], data: bytes) -> None:
        said: list[str] = []
        status = compose.pipe(
            *(self.context.runner, container, [*words, str(len(data))]),
            source=[data],
            take=lambda _: None,
            on_line=said.append,
            user="0",
        )
        if status:
            raise SuiteError("the files could not be written", output="\n".join(said))

    def warm_up(self, owner: Owner, names: Names) -> None:
        """Keep PHP's code compiled in the container that compiles for all."""
        self._run(owner, names, WARM_UP, "the release's code could not be read beforehand")

    def compile(self, owner: Owner, names: Names, *, routes: bool) -> None:
        """Run cache:clear, which compiles beside and then swaps."""
        words = compiling(routes=routes)
        self._run(owner, names, words, "the cache cannot be compiled")

    def follow(self, owner: Owner, names: Names, go_on: Callable[[], bool]) -> bool:
        """Return True: what is compiled is common to all services."""
        return True

    def install(self, owner: Owner, names: Names) -> None:
        """Run mautic:plugins:reload."""
        self._run(owner, names, INSTALL, "the plugins could not be installed")

    def _run(self, owner: Owner, names: Names, words: Sequence[str], failed: str) -> None:
        container = self.context.container(owner, names, PHP)
        try:
            compose.execute(self.context.runner, container, words, deadline_seconds=COMPILE_SECONDS)
        except CommandError as error:
            raise SuiteError(failed, output=error.output) from error

    def restart(self, owner: Owner, names: Names, services: Sequence[str]) -> None:
        """Ask the first process to end; the engine starts it again."""
        found = self.context.inventory(owner, names).services
        for service in services:
            container = found[service].id
            compose.execute(
                self.context.runner, container, RESTART, deadline_seconds=60, check=False
            )

    def close(self, owner: Owner, names: Names) -> None:
        """Replace the services by those of the release, and remove the volumes."""
        record, release = self._deployed(owner, names)
        with self.context.work("go back to the deployed images") as activity:
            self._start(owner, names, record, release, shows=False, say=activity.note)
        for name in self.context.inventory(owner, names).shown:
            self.context.engine.remove_volume(name)
        request = _request(owner, names)
        wanted = wanted_services(self.context, request, release, record.database, begun(record))
        replaced = {name: wanted[name].fingerprint for name in SHOWING}
        record = replace(record, services={**record.services, **replaced})
        write_record(self.context.engine, owner, names, record)

    def _deployed(self, owner: Owner, names: Names) -> tuple[ComposeRecord, Release]:
        record = self.context.inventory(owner, names).record
        if record is None or record.current is None:
            raise absent_error(names)
        return record, record.current

    def _start(
        self,
        owner: Owner,
        names: Names,
        record: ComposeRecord,
        release: Release,
        *,
        shows: bool,
        say: Say,
    ) -> None:
        compose_project = project(
            *(self.context, _request(owner, names), release, record.database, begun(record)),
            shows=shows,
        )
        self.context.secrets(names)
        for item in self.context.containers(names):
            if is_replacement(item):
                self.context.engine.remove_container(item.id)
        # The first alone, so that the volumes are filled from its image.
        compose_project.up(SHOWING[:1], say, recreate=True)
        compose_project.up(SHOWING[1:], say, recreate=True)
        wait_until_up(
            self.context.engine,
            lambda: self.context.containers(names),
            SHOWING,
            say=say,
            stability_seconds=0,
            deadline_seconds=UP_SECONDS,
            hide=self.context.runner.redactor,
        )


def _request(owner: Owner, names: Names) -> Request:
    return Request(names, owner.repository, "", "")
