"""A branch's data as a whole: into a file, from a file, from another branch, away, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from tasks.app.out import named_file
from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.data import DataChange
    from tasks.app.session import Session
    from tasks.flows.data import Source


REPLACE = "also where the branch has data (else refused), which is saved to a file first"
GETS = "full name of the branch that gets the data (default: the branch that is checked out)"


@task(help={"file": "the ZIP to write; a file that is there is replaced"})
def dump(
    session: Session,
    file: str,
    env: str = "",
    branch: str | None = None,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Write a branch's database and uploads into a file, as they are: nothing is masked."""
    from tasks.app import data

    as_json = check_format(format)
    path = named_file("--file", file)
    dumping = data.find_dump(session, env, branch, path, dry=dry_run or session.dry)
    if dry_run or session.dry:
        session.console.plan(dumping.plan(), as_json=as_json)
        return
    manifest = dumping.run()
    if as_json:
        session.console.json(asdict(manifest))
    else:
        session.console.success(f"{file}: {manifest.title}")


@task(
    help={
        "file": "a file that inv db.dump has written, seed (the newest), or seed:ID (inv db.seed "
        "--list)",
        "branch": GETS,
        "replace": REPLACE,
    }
)
def load(
    session: Session,
    file: str,
    env: str = "",
    branch: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Replace a branch's data by a dump or a seed, and migrate it to the release that runs."""
    from tasks.app import data
    from tasks.app.seeds import find_source

    as_json = check_format(format)
    data.check_writable(session, env, branch)
    source = find_source(session, file)
    place = data.find_place(session, env, branch, dry=dry_run or session.dry)
    loading = data.DataChange(session, place, "load", source.title, source.has_uploads, replace)
    _change(session, loading, source, dry=dry_run or session.dry, as_json=as_json)


@task(
    help={
        "from": "full name of the branch whose data is copied",
        "branch": GETS,
        "replace": REPLACE,
    }
)
def copy(
    session: Session,
    from_: str,
    env: str = "",
    branch: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Replace a branch's data by another branch's, and migrate it to the release that runs.

    The database is read inside the cluster where its server is shared and has the provisioner; it
    goes from the one branch's container to the other's otherwise, as uploads do.
    """
    from tasks.app import data
    from tasks.flows.data_copy import BranchSource

    as_json = check_format(format)
    dry = dry_run or session.dry
    place, other = data.find_pair(session, env, branch, from_, dry=dry)
    source = BranchSource(other)
    copying = data.DataChange(session, place, "copy", source.title, True, replace)
    _change(session, copying, source, dry=dry, as_json=as_json)


@task(help={"replace": REPLACE})
def reset(
    session: Session,
    env: str = "",
    branch: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Remove a branch's database and uploads, and install Mautic anew."""
    from tasks.app import data
    from tasks.flows.data import Fresh

    as_json = check_format(format)
    place = data.writable_place(session, env, branch, dry=dry_run or session.dry)
    resetting = data.DataChange(session, place, "reset", has_uploads=True, replace=replace)
    _change(session, resetting, Fresh(), dry=dry_run or session.dry, as_json=as_json)


@task()
def snapshots(
    session: Session, env: str = "", branch: str | None = None, format: str = "text"
) -> None:
    """List the snapshots of a branch's database, and those of its server where that is on RDS."""
    from tasks.app import data
    from tasks.core import server_snapshots
    from tasks.flows import points

    as_json = check_format(format)
    place = data.find_place(session, env, branch)
    found = data.find_snapshots(session, place)
    if as_json:
        session.console.json([*map(asdict, found.points), *map(asdict, found.of_server)])
        return
    if found.points:
        session.console.table(points.COLUMNS, points.rows(found.points))
    if found.of_server:
        session.console.table(server_snapshots.COLUMNS, server_snapshots.rows(found.of_server))
    if not (found.points or found.of_server):
        session.console.say(f"{place.names.branch} has no snapshots; take one: inv db.snapshot")


@task(help={"why": "what it is taken for, which inv db.snapshots shows"})
def snapshot(
    session: Session,
    env: str = "",
    branch: str | None = None,
    why: str = "by hand",
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Take a snapshot of a branch's database; of its server where that is protected, on RDS."""
    from tasks.app import data

    as_json = check_format(format)
    place = data.find_place(session, env, branch, dry=dry_run or session.dry)
    snapshot = data.SnapshotTask(session, place, why)
    if dry_run or session.dry:
        session.console.plan(snapshot.plan(), as_json=as_json)
        return
    taken = snapshot.run()
    if as_json:
        session.console.json(asdict(taken))
    else:
        session.console.data(taken.name)


@task(
    help={
        "name": "which one: a number of inv db.snapshots (default: the newest that was taken, "
        "leaving out what an earlier restore has replaced)"
    }
)
def restore(
    session: Session,
    name: str = "",
    env: str = "",
    branch: str | None = None,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Replace a branch's database by a snapshot; what was there becomes a snapshot itself."""
    from tasks.app import data

    as_json = check_format(format)
    place = data.writable_place(session, env, branch, dry=dry_run or session.dry)
    restoring = data.Restore(session, place, name)
    if dry_run or session.dry:
        session.console.plan(restoring.plan(), as_json=as_json)
        return
    done = restoring.run()
    if as_json:
        session.console.json(done.as_dict())
    else:
        session.console.data(done.names.url)


def _change(
    session: Session, change: DataChange, source: Source, *, dry: bool, as_json: bool
) -> None:
    """Change a branch's data, or only print the plan."""
    if dry:
        session.console.plan(change.plan(), as_json=as_json)
        return
    done = change.run(source)
    if as_json:
        session.console.json(done.as_dict())
    else:
        session.console.data(done.names.url)
