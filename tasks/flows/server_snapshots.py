"""Snapshots of the whole database server: before a deploy that may migrate, and by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from tasks.adapters.terminal.console import Activity, Console
from tasks.adapters.wait import CLOCK, wait_until
from tasks.core.environment import Release
from tasks.core.errors import DeadlineError, SuiteError
from tasks.core.images.content_key import CODE
from tasks.core.names import Names
from tasks.core.points import is_newer
from tasks.core.server_snapshots import (
    AVAILABLE,
    RELEASE,
    ServerSnapshot,
    SnapshotOrder,
    hand_tags,
    owned,
    owner_tags,
    release_tags,
    snapshot_name,
    surplus,
    taken_for,
)

POLL_SECONDS = 10.0
LOST = frozenset({"deleting", "failed"})
"""The states of a snapshot that nothing comes of."""


class SnapshotPort(Protocol):
    """A database server that snapshots can be taken of. All methods may raise an AwsError."""

    server: str

    def list(self) -> Sequence[ServerSnapshot]:
        """Return those that were not taken by the service itself."""

    def state(self) -> str:
        """Return the server's state."""

    def take(self, name: str, tags: Mapping[str, str]) -> bool:
        """Have a snapshot begun; return False while the server is busy."""

    def remove(self, name: str) -> None:
        """Delete a snapshot, unless it is gone already."""


@dataclass(frozen=True)
class ServerSnapshots:
    """The snapshots of the server of one environment.

    Attributes:
        port: the server.
        labels: returns the labels of a mautic image, by its reference.
        project: the project's name.
        keep: how many of those that deploys take are kept; 0: they take none.
        wait_minutes: how long one may take.
    """

    port: SnapshotPort
    labels: Callable[[str], Mapping[str, str]]
    project: str
    keep: int
    wait_minutes: int

    def find(self, names: Names) -> list[ServerSnapshot]:
        """Return those of a branch's environment, the oldest first.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        return owned(self.port.list(), owner_tags(self.project, names))

    def before(self, names: Names, newest: str) -> ServerSnapshot | None:
        """Return the newest whole one whose migrations a release knows, or None.

        Args:
            names: the branch's names.
            newest: the newest migration that the release has.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        fits = [
            each
            for each in self.find(names)
            if each.status == AVAILABLE and each.migration and not is_newer(each.migration, newest)
        ]
        return fits[-1] if fits else None

    def order(self, names: Names, current: Release, release: Release) -> SnapshotOrder | None:
        """Return the snapshot that a deploy has to take, or None; reads only.

        Args:
            names: the branch's names.
            current: what runs.
            release: what is deployed, of another image.

        Raises:
            AwsError: AWS refused, or cannot be reached.
        """
        reason = self._reason(current, release) if self.keep else ""
        if not reason:
            return None
        now = datetime.now(UTC)
        if found := taken_for(self.find(names), release.mautic, now):
            there = f"{found.title} was taken for {release.tag} already"
            return SnapshotOrder(found.name, found.server, found.tags, there, there=True)
        server = self.port.server
        name = snapshot_name(server, now, names.slug, release.tag)
        tags = {**owner_tags(self.project, names), **release_tags(current, release)}
        return SnapshotOrder(name, server, tags, f"{reason}: {name}")

    def take(self, names: Names, why: str, console: Console) -> ServerSnapshot:
        """Take one by hand, and wait until it is whole.

        Raises:
            SuiteError: it failed, or took too long.
        """
        name = snapshot_name(self.port.server, datetime.now(UTC), names.slug)
        tags = {**owner_tags(self.project, names), **hand_tags(why)}
        return self._carry_out(SnapshotOrder(name, self.port.server, tags, why), console)

    def secure(self, names: Names, order: SnapshotOrder, console: Console) -> None:
        """Carry out what a deploy has to take, and remove what is not kept.

        Raises:
            SuiteError: it failed, or took too long.
        """
        self._carry_out(order, console)
        try:
            for each in surplus(self.find(names), self.keep):
                self.port.remove(each.name)
                console.say(f"removed {each.title}: rds_snapshots.keep is {self.keep}")
        except SuiteError as error:
            # The next deploy does it.
            console.warn(f"an older RDS snapshot could not be removed: {error.message}")

    def _reason(self, current: Release, release: Release) -> str:
        """Return why a release may have something to migrate; empty if it has nothing."""
        try:
            ran, comes = (self.labels(each.mautic).get(CODE) for each in (current, release))
        except SuiteError as error:
            return f"whether the code is the same is not known ({error.message})"
        return "" if ran and ran == comes else f"before the code of {release.tag}"

    def _carry_out(self, order: SnapshotOrder, console: Console) -> ServerSnapshot:
        deadline = CLOCK.monotonic() + self.wait_minutes * 60
        with console.work(f"snapshot of {order.server}") as activity:
            if not order.there:
                wait_until(
                    order.server,
                    lambda: self._begin(order, activity),
                    deadline_seconds=deadline - CLOCK.monotonic(),
                    poll_seconds=POLL_SECONDS,
                    clock=CLOCK,
                    late=lambda _: DeadlineError(
                        f"no RDS snapshot of {order.server} could be begun in "
                        f"{self.wait_minutes} minutes: it is {self.port.state()}",
                        hint="it is on its own; try again when it is available",
                    ),
                )
            found = self._wait(order, activity, deadline)
            activity.outcome = found.name
        return found

    def _begin(self, order: SnapshotOrder, activity: Activity) -> bool:
        begun = self.port.take(order.name, order.tags)
        if not begun:
            activity.line(f"{order.server} is {self.port.state()}")
        return begun

    def _wait(self, order: SnapshotOrder, activity: Activity, deadline: float) -> ServerSnapshot:
        """Wait until a snapshot is whole, and show how far it is."""
        seen: list[str] = ["not listed yet"]

        def look() -> ServerSnapshot | None:
            found = next((each for each in self.port.list() if each.name == order.name), None)
            # A new one may not be listed at once.
            if found is None and len(seen) == 1:
                return None
            if found is None or found.status in LOST:
                state = found.status if found else "gone"
                raise SuiteError(f"RDS snapshot {order.name} is {state}", hint="take another one")
            if found.status == AVAILABLE:
                return found
            told = f"{found.status}, {found.percent} %"
            if told != seen[-1]:
                seen.append(told)
                activity.line(told)
            return None

        again = (
            "deploy again, and it is waited for" if RELEASE in order.tags else "inv db.snapshots"
        )
        return wait_until(
            order.name,
            look,
            deadline_seconds=max(0.0, deadline - CLOCK.monotonic()),
            poll_seconds=POLL_SECONDS,
            clock=CLOCK,
            late=lambda _: DeadlineError(
                f"RDS snapshot {order.name} is not whole after {self.wait_minutes} minutes "
                f"({seen[-1]})",
                hint=f"RDS goes on with it: {again}; rds_snapshots.wait_minutes is how long",
            ),
        )
