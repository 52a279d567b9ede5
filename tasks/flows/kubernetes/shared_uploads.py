"""Uploads of seeds that a cluster's branches share: images in the environment's registry.

The platform's provisioner decrypts them, as it takes seeds already. What it writes goes on into the
registry as it comes: nothing of it is kept here.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tasks.adapters.process import LOOK_SECONDS
from tasks.core.errors import AwsError, ClusterError, RegistryError, SuiteError
from tasks.core.images.seed_image import REPOSITORIES
from tasks.core.kubernetes.image_volumes import image_volume_problem
from tasks.core.kubernetes.provisioner import NAME, UNSEAL, unseals
from tasks.flows.kubernetes.context import ClusterContext
from tasks.flows.kubernetes.seed_server import provisioner
from tasks.flows.registry_port import Registry
from tasks.flows.seed_images import find_images, push_images

AHEAD = 64
"""Parts, of 32 KB each, that have come and are not passed on yet."""
USAGE = 64
SAID = "unseal: "
"""What each line of the provisioner's program begins with."""


@dataclass(frozen=True)
class ClusterSharedUploads:
    """Images that the branches' pods mount; errors as for ``SharedUploads``.

    Attributes:
        registry: returns the environment's registry.
    """

    context: ClusterContext
    registry: Callable[[], Registry]

    def problem(self) -> str:
        """Return why a new branch cannot share uploads here; empty if it can.

        Raises:
            ClusterError: the API refused, or stayed unreachable.
        """
        cluster, platform = self.context.cluster, self.context.own.platform_namespace
        if not self.context.is_furnished:
            return "there is no provisioner that could decrypt them for all branches"
        if not unseals(cluster.get("ConfigMap", NAME, platform)):
            return f"the provisioner in {platform} decrypts none; inv platform.apply lets it"
        try:
            if problem := image_volume_problem(cluster.find_all("Node")):
                return problem
        except ClusterError as error:
            if error.status != 403:
                raise
            return "you may not ask the nodes whether they mount images"
        try:
            self.registry().missing(sorted(REPOSITORIES.values()))
        except (RegistryError, AwsError) as error:
            return error.message
        return ""

    def find(self, id_: str) -> dict[str, str]:
        """Return the images of a seed's uploads by digest, by folder; none unless all are there.

        Raises:
            SuiteError: the registry cannot be asked.
        """
        return find_images(self.registry(), id_)

    def fill(
        self, id_: str, image: str, source: Iterable[bytes], on_line: Callable[[str], None]
    ) -> int:
        """Push the images, unless they are there."""
        if self.find(id_):
            return 0
        parts = iter(source)
        given = json.loads(next(parts))
        ready = threading.Event()

        def sent() -> Iterator[bytes]:
            # A former program ends at once, which is only told if it leaves nothing unread.
            ready.wait()
            yield json.dumps({**given, "id": id_}).encode() + b"\n"
            yield from parts

        def hear(line: str) -> None:
            if line.startswith(SAID):
                ready.set()
            on_line(self.context.redactor(line))

        place = provisioner(self.context, "decrypts uploads")

        def unseal(take: Callable[[bytes], None]) -> int:
            try:
                return self.context.cluster.pipe(
                    *place, UNSEAL, source=sent(), take=take, on_line=hear
                )
            finally:
                ready.set()

        try:
            with _written_by(unseal) as tar:
                push_images(self.registry(), id_, given["sha256"], tar)
        except _EndedError as error:
            if error.status == USAGE:
                raise SuiteError(
                    "the platform's provisioner is of an image that decrypts no uploads",
                    hint="an administrator builds a new one (inv platform.image), and applies it "
                    "(inv platform.apply); with seeds.uploads: copy it is not needed",
                ) from error
            return error.status
        return 0

    def unused(self) -> list[str]:
        """Return nothing: the sweep of images knows which no branch shares."""
        return []

    def remove(self, id_: str) -> None:
        """Leave it to the sweep of images."""


class _EndedError(Exception):
    """A program has failed.

    Attributes:
        status: its exit status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


@contextlib.contextmanager
def _written_by(program: Callable[[Callable[[bytes], None]], int]) -> Iterator[Iterator[bytes]]:
    """Run a program beside this thread, and yield what it writes, as it comes.

    Whoever reads it gets its error, or ``_EndedError``, in place of the end. Left before that, the
    program is told by an error of what it writes to.
    """
    written: queue.Queue[bytes | None] = queue.Queue(AHEAD)
    is_over = threading.Event()
    ended: list[int | Exception] = []

    def put(part: bytes | None) -> None:
        while not is_over.is_set():
            with contextlib.suppress(queue.Full):
                written.put(part, timeout=LOOK_SECONDS)
                return
        raise BrokenPipeError("nobody reads it any more")

    def run() -> None:
        try:
            ended.append(program(put))
        except Exception as error:  # raised where it is read
            ended.append(error)
        with contextlib.suppress(BrokenPipeError):
            put(None)

    def parts() -> Iterator[bytes]:
        while (part := written.get()) is not None:
            yield part
        [result] = ended
        if isinstance(result, Exception):
            raise result
        if result:
            raise _EndedError(result)

    threading.Thread(target=run, daemon=True, name="unseal").start()
    try:
        yield parts()
    finally:
        is_over.set()
