"""This machine's images: the storage of the platform's registry, and the engine's copies.

The registry's API tells neither when something was pushed nor what has no tag, and frees no room
for what is deleted: all three are had from its storage, by its container.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tasks.adapters.docker import compose
from tasks.adapters.docker.engine import Container
from tasks.core.environment import State
from tasks.core.errors import EngineError
from tasks.core.images.tags import IMAGES
from tasks.flows.compose.context import ComposeContext
from tasks.flows.compose.inspector import ComposeInspector
from tasks.flows.registry_port import Copy
from tasks.flows.target import Say

STORAGE = "/var/lib/registry/docker/registry/v2"
QUIET_SECONDS = 600
"""Without a byte written for so long, no push is under way: the garbage collection would take the
layers of one for garbage."""
PUT_OFF = "put off: something was pushed"
ASK_SECONDS = 60.0
COLLECT_SECONDS = 1800.0

_LINK = re.compile(r"(\d+) \S*/_manifests/(revisions|tags/[^/]+/index)/sha256/([0-9a-f]{64})/link")
_ELIGIBLE = re.compile(r"(\d+) blobs and \d+ manifests eligible for deletion")


@dataclass(frozen=True)
class ComposeImages:
    """This machine's images of one environment whose registry is the platform's.

    Attributes:
        quiet_seconds: without a byte written for so long, no push is under way.
    """

    context: ComposeContext
    quiet_seconds: int = QUIET_SECONDS

    def push_times(self, repository: str) -> Mapping[str, datetime]:
        """Return when each manifest of a repository was pushed or tagged last, by its digest."""
        path = f"{self.context.own.registry.url.partition('/')[2]}/{repository}".lstrip("/")
        found = self._ask(
            *("find", f"{STORAGE}/repositories/{path}/_manifests", "-name", "link"),
            *("-exec", "stat", "-c", "%Y %n", "{}", "+"),
        )
        stored: set[str] = set()
        times: dict[str, datetime] = {}
        for seconds, kind, digits in _LINK.findall(found):
            digest, moment = f"sha256:{digits}", datetime.fromtimestamp(int(seconds), UTC)
            times[digest] = max(moment, times.get(digest, moment))
            if kind == "revisions":
                stored.add(digest)
        # The registry remembers of a tag what it once stood for.
        return {digest: moment for digest, moment in times.items() if digest in stored}

    def copies(self, kept: Collection[str], young_before: datetime) -> Sequence[Copy]:
        """Return the engine's copies that nobody needs; arguments as for ``LocalImages``."""
        engine = self.context.engine
        path = f"{self.context.own.registry.url}/"
        ours = tuple(f"{path}{name}{end}" for name in IMAGES for end in ":@")
        in_use = engine.images_in_use()
        found = []
        for item in engine.images():
            is_ours = item.names and all(name.startswith(ours) for name in item.names)
            is_kept = any(name.removeprefix(path) in kept for name in item.names)
            if not is_ours or is_kept or item.id in in_use:
                continue
            named_at = engine.named_at(item.id)
            if named_at is not None and named_at < young_before:
                found.append(Copy(item.id, item.names, item.size))
        return found

    def remove_copy(self, copy: Copy) -> None:
        """Remove a copy, unless a container has begun to use it."""
        self.context.engine.remove_image(copy.id)

    def garbage(self) -> int:
        """Return the number of blobs that no manifest of the local registry names."""
        container = self._registry()
        if container is None:
            return 0
        command = ("registry", "garbage-collect", "--dry-run", self._configuration(container))
        said = self._ask(*command)
        found = _ELIGIBLE.search(said)
        return int(found[1]) if found else 0

    def collect(self, say: Say) -> str:
        """Run the local registry's garbage collection, unless a push is under way.

        It runs while the registry is stopped: one that serves would go on telling clients of blobs
        that are gone. If this run is killed, the next build or deploy starts the registry.

        Returns:
            What was done, in a few words.
        """
        platform = self.context.platform
        with platform.exclusive():
            container = self._registry()
            if container is None:
                return "the registry does not run"
            if written := self._seconds_since(self._ask(*self._newest())):
                return f"{PUT_OFF} {written} s ago"
            for found in ComposeInspector(self.context).list():
                if found.state in {State.DEPLOYING, State.CHANGING}:  # it may pull at any moment
                    return f"put off: a run is changing {found.title}"
            before, configuration = self._bytes(), self._configuration(container)
            say("the registry is stopped for a moment")
            compose.stop(self.context.runner, [container.id])
            try:
                # A push may have begun in between.
                if written := self._seconds_since(self._beside(container, *self._newest())):
                    return f"{PUT_OFF} {written} s ago"
                self._beside(container, "registry", "garbage-collect", configuration)
            finally:
                compose.start(self.context.runner, [container.id])
                platform.await_registry()
            freed = before - self._bytes()
        return f"{freed / 1e6:.1f} MB freed"

    def _beside(self, container: Container, *words: str) -> str:
        """Run a program on the storage of the registry, which is stopped."""
        return compose.run_on_volumes(
            self.context.runner,
            container.id,
            container.image,
            words,
            deadline_seconds=COLLECT_SECONDS,
        )

    def _newest(self) -> tuple[str, ...]:
        """Return the command that tells when blobs, or parts of some, were written of late."""
        return (
            *("find", STORAGE, "-type", "f", "(", "-name", "data", "-o", "-path", "*/_uploads/*"),
            *(")", "-mmin", f"-{self.quiet_seconds // 60 + 1}"),
            *("-exec", "stat", "-c", "%Y", "{}", "+"),
        )

    def _seconds_since(self, told: str) -> int:
        """Return how many seconds ago a blob was written, as told; 0 if that is long ago."""
        age = int(time.time()) - max(map(int, told.split()), default=0)
        return max(1, age) if age < self.quiet_seconds else 0

    def _bytes(self) -> int:
        """Return what the registry's storage takes, in bytes."""
        said = self._ask("du", "-sk", STORAGE).split()
        return int(said[0]) * 1024 if said else 0

    def _configuration(self, container: Container) -> str:
        """Return the path of the registry's configuration: the last word of its command."""
        found = self.context.engine.inspect(container.id)
        if found is None:
            raise EngineError("the local registry has just been removed")
        return str((found["Config"]["Cmd"] or [""])[-1])

    def _registry(self) -> Container | None:
        found = self.context.platform.present().get("registry")
        return found if found and found.state == "running" else None

    def _ask(self, *words: str) -> str:
        """Return what a command in the registry's container says; nothing if it fails.

        Without an answer nothing is known of an age, and nothing is taken for garbage.
        """
        container = self._registry()
        if container is None:
            return ""
        return compose.execute(
            self.context.runner, container.id, words, deadline_seconds=ASK_SECONDS, check=False
        ).stdout
