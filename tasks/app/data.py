"""Puts together what is done with a branch's data: dump, load, copy, reset, points in time."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tasks.adapters.files.lock import state_folder
from tasks.adapters.files.new_file import check_new
from tasks.adapters.identity import this_run
from tasks.app.existing import ExistingEnvironment, find_existing
from tasks.app.server_snapshots import server_snapshots
from tasks.app.session import Session
from tasks.app.sleep import be_used
from tasks.core.dump_manifest import Manifest
from tasks.core.errors import ClusterError, InputError, RefusedError, SuiteError
from tasks.core.names import Names
from tasks.core.points import Point
from tasks.core.server_snapshots import ServerSnapshot
from tasks.flows.data import (
    ChangePlan,
    Place,
    Source,
    change,
    dump,
    plan_change,
    refuse_protected,
)
from tasks.flows.dumping import DumpPlan, plan_dump
from tasks.flows.points import (
    RestorePlan,
    SnapshotPlan,
    find_points,
    plan_restore,
    plan_snapshot,
    require_mautic,
    restore,
    take,
)

SNAPSHOTS = "snapshots"
"""The folder of dumps that are made before data is replaced, in that of the suite's state."""
LEFTOVER_SECONDS = 86_400
"""The age from which a copy's file is nobody's any more: earlier versions wrote one."""


def find_place(session: Session, env: str, branch: str | None, *, dry: bool = False) -> Place:
    """Return a branch's environment, which must exist, awake; arguments as for ``find_existing``.

    Args:
        session: the run.
        env: what ``--env`` said.
        branch: what ``--branch`` said, or None when it was not given.
        dry: only look: one that sleeps is not woken.

    Raises:
        InputError: it is not there; or it sleeps, and this run only looks.
        SuiteError: it could not be woken.
    """
    return _awake(session, find_existing(session, env, branch), dry=dry)


def find_other(session: Session, target: Names, source: str, *, dry: bool = False) -> Place:
    """Return the environment of the branch that is copied, whose database holds a Mautic.

    Args:
        target: the names of the branch that gets the data.
        source: the branch that is copied, in the same environment.
        dry: only look: one that sleeps is not woken.

    Raises:
        InputError: they are the same, or the latter has no environment.
        RefusedError: whoever runs this has no right to it, or its database holds no Mautic.
    """
    return _with_mautic(session, existing_other(session, target, source), dry=dry)


def find_pair(
    session: Session, env: str, branch: str | None, source: str, *, dry: bool = False
) -> tuple[Place, Place]:
    """Return a branch's environment whose data may be replaced, and that of the branch copied.

    Both are known to be there before one that sleeps is woken.

    Args:
        source: the branch that is copied; other arguments as for ``find_place``.

    Raises:
        SuiteError: as for ``find_other``.
        RefusedError: the environment is protected.
    """
    names = check_writable(session, env, branch)
    other = existing_other(session, names, source)
    place = find_place(session, env, branch, dry=dry)
    return place, _with_mautic(session, other, dry=dry)


def existing_other(session: Session, target: Names, source: str) -> ExistingEnvironment:
    """Return the environment of the branch that is copied, asleep or not; see ``find_other``."""
    if target.branch == source:
        raise InputError(f"{source} cannot be copied onto itself")
    try:
        return find_existing(session, target.environment, source)
    except ClusterError as error:
        if error.status != 403:
            raise
        raise RefusedError(
            f"{target.branch} cannot get the data of {source}: you have no right to the "
            f"environment of {source} in {target.environment}",
            hint="a CI job has rights to its own branch alone: whoever has rights to both runs "
            "this command",
        ) from error


def _awake(session: Session, found: ExistingEnvironment, *, dry: bool) -> Place:
    """Return an environment, awake; errors as for ``find_place``."""
    be_used(session, found.target, found.owner, found.names, dry=dry)
    return Place(found.owner, found.names, found.target.data, found.target.deployer)


def _with_mautic(session: Session, found: ExistingEnvironment, *, dry: bool) -> Place:
    """Return an environment, awake, whose database holds a Mautic; errors as for ``find_other``."""
    place = _awake(session, found, dry=dry)
    require_mautic(place)
    return place


def check_writable(session: Session, env: str, branch: str | None) -> Names:
    """Return the names of a branch whose data may be replaced; nothing is asked of its environment.

    Raises:
        RefusedError: the environment is protected.
    """
    return session.unprotected_names(env, branch, refuse_protected)


def writable_place(session: Session, env: str, branch: str | None, *, dry: bool = False) -> Place:
    """Return a branch's environment whose data may be replaced; arguments as for ``find_place``.

    Raises:
        RefusedError: the environment is protected.
        InputError: the branch has no environment.
    """
    check_writable(session, env, branch)
    return find_place(session, env, branch, dry=dry)


@dataclass(frozen=True)
class DumpTask:
    """A dump of a branch's data into a file."""

    session: Session
    place: Place
    file: Path

    def plan(self) -> DumpPlan:
        """Return what would be done; reads only."""
        return plan_dump(self.place, self.file)

    def run(self) -> Manifest:
        """Do it, and return what is in the file."""
        self.plan()  # which refuses what is worth no file
        return dump(self.place, self.file, self.session.console)


def find_dump(
    session: Session, env: str, branch: str | None, file: Path, *, dry: bool = False
) -> DumpTask:
    """Return a dump of a branch's data; arguments as for ``find_place``.

    Raises:
        InputError: no dump can be written there, or the branch has no environment.
    """
    session.names(env, branch)
    check_new(file, "--file")
    return DumpTask(session, find_place(session, env, branch, dry=dry), file)


@dataclass(frozen=True)
class DataChange:
    """A load, a copy or a reset of a branch's data.

    Attributes:
        title: what is loaded, in a few words; empty for a reset.
        has_uploads: whether uploads are replaced as well.
        replace: whether what is there may be replaced.
    """

    session: Session
    place: Place
    verb: str
    title: str = ""
    has_uploads: bool = False
    replace: bool = True

    def plan(self) -> ChangePlan:
        """Return what would be done; reads only."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        snapshot = _snapshots() / self.place.names.namespace / f"{stamp}.zip"
        return plan_change(
            *(self.place, self.verb, self.title, snapshot),
            has_uploads=self.has_uploads,
            replace=self.replace,
        )

    def run(self, source: Source) -> ChangePlan:
        """Do it, and return what was done."""
        remove_leftovers()
        me = this_run(self.verb)
        return change(self.place, self.plan, source, me=me, console=self.session.console)


@dataclass(frozen=True)
class Restore:
    """The way back to a snapshot.

    Attributes:
        name: which; empty for the newest that was taken.
    """

    session: Session
    place: Place
    name: str

    def plan(self) -> RestorePlan:
        """Return what would be done; reads only."""
        return plan_restore(self.place, self.name)

    def run(self) -> RestorePlan:
        """Do it, and return what was done."""
        me = this_run("restore")
        return restore(self.place, self.plan, me=me, console=self.session.console)


@dataclass(frozen=True)
class Snapshots:
    """The points in time of a branch's database.

    Attributes:
        points: those beside it on its server.
        of_server: those of the whole server.
    """

    points: list[Point]
    of_server: list[ServerSnapshot]


def find_snapshots(session: Session, place: Place) -> Snapshots:
    """Return a branch's snapshots, the oldest first.

    Raises:
        SuiteError: they cannot be listed. Where there are such of the server, those are listed
            although the branch's own cannot be, as where no pod is ready.
    """
    server = server_snapshots(session, place.names.environment)
    if server is None:
        return Snapshots(find_points(place), [])
    of_server = server.find(place.names)
    try:
        return Snapshots(find_points(place), of_server)
    except SuiteError as error:
        session.console.warn(f"snapshots beside the database are not listed: {error.message}")
        return Snapshots([], of_server)


@dataclass(frozen=True)
class SnapshotTask:
    """A snapshot of a branch's database; of the whole server where that is RDS' and protected.

    Attributes:
        why: what it is taken for.
    """

    session: Session
    place: Place
    why: str

    def plan(self) -> SnapshotPlan:
        """Return what would be done; reads only."""
        if server := server_snapshots(self.session, self.place.names.environment):
            return SnapshotPlan(self.place.names, f"RDS instance {server.port.server}", self.why)
        return plan_snapshot(self.place, self.why)

    def run(self) -> Point | ServerSnapshot:
        """Take it, and return it."""
        console = self.session.console
        if server := server_snapshots(self.session, self.place.names.environment):
            return server.take(self.place.names, self.why, console)
        return take(self.place, self.plan, me=this_run("snapshot"), console=console)


def remove_leftovers() -> None:
    """Remove dumps that an earlier version of the suite has left where a copy was killed."""
    for folder in _snapshots().glob(".copy-*"):
        if time.time() - folder.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _snapshots() -> Path:
    return state_folder(os.environ) / SNAPSHOTS
