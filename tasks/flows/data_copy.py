"""Another branch's data: it goes from the one's container to the other's, and lies nowhere between.

The database does not even do that where one server has both branches': the container of the one
that gets it reads it there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from tasks.adapters.terminal.console import Console
from tasks.flows.data import (
    COPY_DATABASE,
    GIVE_DATABASE,
    GIVE_UPLOADS,
    TAKE_DATABASE,
    TAKE_UPLOADS,
    Place,
    ignore,
    put_database,
    run_image,
    saying,
)
from tasks.flows.handover import handing_over


@dataclass(frozen=True)
class BranchSource:
    """Another branch of the same environment.

    The uploads are read first, then the database, as one snapshot.
    """

    other: Place
    has_uploads: bool = True

    @property
    def title(self) -> str:
        """Whose data it is, and how it comes."""
        way = "inside the cluster" if self.other.data.lends else "from container to container"
        return f"of {self.other.names.branch}, {way}"

    def check(self, console: Console) -> None:
        """There is nothing to look at before it comes: what does not come whole changes nothing."""

    def stage(self, place: Place, console: Console) -> None:
        """Have the uploads handed over; errors as for ``Source``."""
        with (
            console.work(f"copy the uploads of {self.other.names.branch}") as activity,
            handing_over(self.other, GIVE_UPLOADS, place, console.warn) as handover,
        ):
            run_image(place, TAKE_UPLOADS, handover.take, activity, handover.source())

    def put(self, place: Place, console: Console) -> None:
        """Let the branch's container read the database, or have it handed over.

        It is read where one server has both. Errors are as for ``Source``.
        """
        branch = place.names.branch
        title = f"copy {self.other.names.database} to {place.names.database}"
        with contextlib.ExitStack() as opened:
            with saying(console, f"{branch} has the data that it had"):
                way = opened.enter_context(self._way(place, console))
            put_database(
                *(place, way.words, title, console, way.source), take=way.take, has_uploads=True
            )
            with saying(console, f"{branch} has the new data"):
                opened.close()

    @contextlib.contextmanager
    def _way(self, place: Place, console: Console) -> Iterator[_Way]:
        """Open the way that the rows take, for as long as the context lasts."""
        other = self.other
        with other.data.lend(other.names, console.say) as loan:
            if loan:
                yield _Way(COPY_DATABASE, [json.dumps(asdict(loan)).encode() + b"\n"])
                return
            with handing_over(other, GIVE_DATABASE, place, console.warn) as handover:
                yield _Way(TAKE_DATABASE, handover.source(), handover.take)


@dataclass(frozen=True)
class _Way:
    """How rows come into a branch's database.

    Attributes:
        words: the program that brings them.
        source: what it reads.
        take: called with what it writes.
    """

    words: tuple[str, ...]
    source: Iterable[bytes]
    take: Callable[[bytes], None] = ignore
