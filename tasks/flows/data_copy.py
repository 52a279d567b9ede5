"""Another branch's data: it passes from one container to the other, and lies nowhere between.

The database does not even do that where one server has both branches': the container of the one
that gets it reads it there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tasks.adapters.terminal.console import Activity, Console
from tasks.core.dump_manifest import DATABASE, UPLOADS, Member
from tasks.flows.data import (
    COPY_DATABASE,
    DUMP_DATABASE,
    DUMP_UPLOADS,
    LOAD_DATABASE,
    STAGE_UPLOADS,
    Place,
    compare,
    counted,
    ignore,
    in_parts,
    put_database,
    run_image,
    saying,
    send_out,
)

PARTS = 16
"""How many parts may wait between the two programs."""
LOOK_SECONDS = 0.5
"""How often a side that waits for the other looks whether that is still there."""
END_SECONDS = 15.0
"""How long the program that writes may take to end when nobody reads any more."""

Take = Callable[[bytes], None]


@dataclass(frozen=True)
class BranchSource:
    """Another branch of the same environment.

    The uploads are read first, then the database, as one snapshot.
    """

    other: Place
    has_uploads: bool = True

    @property
    def title(self) -> str:
        """Whose data it is."""
        whose = f"of {self.other.names.branch}"
        return f"{whose}, inside the cluster" if self.other.data.lends else whose

    def check(self, console: Console) -> None:
        """There is nothing to look at before it comes: what does not come whole changes nothing."""

    def stage(self, place: Place, console: Console) -> None:
        """Pass the uploads on; errors as for ``Source``."""
        with (
            console.work(f"copy the uploads of {self.other.names.branch}") as activity,
            self._passing(DUMP_UPLOADS, UPLOADS, activity) as passing,
        ):
            sent = counted(in_parts(passing.parts(), lambda: passing.came.sha256), activity)
            run_image(place, STAGE_UPLOADS, ignore, activity, sent)

    def put(self, place: Place, console: Console) -> None:
        """Let the branch's container read the database, or pass that on; errors as for ``Source``.

        It is read there where one server has both, and passed on otherwise.
        """
        branch, other = place.names.branch, self.other
        title = f"copy {other.names.database} to {place.names.database}"
        with contextlib.ExitStack() as lent:
            with saying(console, f"{branch} has the data that it had"):
                loan = lent.enter_context(other.data.lend(other.names, console.say))
            if loan:
                line = json.dumps(asdict(loan)).encode() + b"\n"
                put_database(place, COPY_DATABASE, title, console, [line], has_uploads=True)
            else:
                self._pass_on(place, title, console)
            with saying(console, f"{branch} has the new data"):
                lent.close()

    def _pass_on(self, place: Place, title: str, console: Console) -> None:
        with self._passing(DUMP_DATABASE, DATABASE, None) as passing:
            parts = passing.parts()
            put_database(place, LOAD_DATABASE, title, console, parts, has_uploads=True)

    def _passing(
        self, words: tuple[str, ...], name: str, activity: Activity | None
    ) -> contextlib.closing[Passing]:
        def produce(take: Take) -> dict[str, Any]:
            return send_out(self.other, words, take, activity)

        return contextlib.closing(Passing(produce, name))


class Passing:
    """Hands on what one program writes, as fast as another one reads it.

    Args:
        produce: runs the program that writes, in a thread of its own; returns what it says at its
            end of what it has written.
        name: what that is.

    Attributes:
        came: what has come, once ``parts`` has ended.
    """

    def __init__(self, produce: Callable[[Take], dict[str, Any]], name: str) -> None:
        self.came = Member(0, "")
        self._produce = produce
        self._name = name
        self._parts: queue.Queue[bytes | None] = queue.Queue(PARTS)
        self._closed = threading.Event()
        self._told: dict[str, Any] = {}
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="passing")

    def parts(self) -> Iterator[bytes]:
        """Yield what comes, and at the end compare it with what was sent.

        Raises:
            SuiteError: the program failed, or something was lost on its way.
        """
        self._thread.start()
        digest, size = hashlib.sha256(), 0
        for part in self._coming():
            digest.update(part)
            size += len(part)
            yield part
        if self._failure:
            raise self._failure
        self.came = Member(size, digest.hexdigest())
        if not self._closed.is_set():
            compare(self._told, self.came, self._name)

    def close(self) -> None:
        """Let the program end that writes, if it still does."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(END_SECONDS)

    def _coming(self) -> Iterable[bytes]:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                part = self._parts.get(timeout=LOOK_SECONDS)
                if part is None:
                    return
                yield part

    def _take(self, part: bytes | None) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._parts.put(part, timeout=LOOK_SECONDS)
                return
        raise BrokenPipeError(f"nobody takes {self._name} any more")

    def _run(self) -> None:
        try:
            self._told = self._produce(self._take)
        except Exception as error:
            self._failure = error
        with contextlib.suppress(BrokenPipeError):
            self._take(None)
