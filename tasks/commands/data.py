"""A branch's data as a whole: into a file, from a file, from another branch, away, and back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.app.task import check_format, task

if TYPE_CHECKING:
    from tasks.app.data import DataChange
    from tasks.app.session import Session
    from tasks.flows.data import Source


@task(help={"file": "the file to write: a ZIP; one that is there is replaced"})
def dump(
    session: Session,
    file: str,
    env: str = "",
    branch: str | None = None,
    format: str = "text",
) -> None:
    """Write a branch's database and uploads into a file."""
    from tasks.app import data
    from tasks.flows.data import dump as write

    as_json = check_format(format)
    manifest = write(data.find_place(session, env, branch), Path(file), session.console)
    if as_json:
        session.console.json(asdict(manifest))
    else:
        session.console.success(f"{file}: {manifest.title}")


@task(
    help={
        "file": "a file that inv db.dump has written, or seed:ID (inv db.seed --list)",
        "replace": "also over data that is there, which is saved to a file first",
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
    """Put a dump, or a seed, in the place of a branch's data, and migrate it."""
    from tasks.app import data
    from tasks.app.seeds import find_source

    as_json = check_format(format)
    place = data.writable_place(session, env, branch, dry=dry_run or session.dry)
    source = find_source(session, file)
    loading = data.DataChange(session, place, "load", source.title, source.has_uploads, replace)
    _change(session, loading, source, dry=dry_run or session.dry, as_json=as_json)


@task(
    help={
        "from": "full name of the branch whose data is copied",
        "replace": "also over data that is there, which is saved to a file first",
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
    """Put another branch's database and uploads in the place of a branch's, and migrate them."""
    from tasks.app import data
    from tasks.flows.data_copy import BranchSource

    as_json = check_format(format)
    dry = dry_run or session.dry
    place = data.writable_place(session, env, branch, dry=dry)
    other = data.find_other(session, place.names, from_, dry=dry)
    source = BranchSource(other)
    copying = data.DataChange(session, place, "copy", source.title, True, replace)
    _change(session, copying, source, dry=dry, as_json=as_json)


@task(help={"replace": "also data that is there, which is saved to a file first"})
def reset(
    session: Session,
    env: str = "",
    branch: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Take a branch's data and uploads away, and install Mautic in its database anew."""
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
    """List the points in time of a branch's database, and of its server where that is on RDS."""
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


@task(help={"why": "what it is taken for, which is shown with it"})
def snapshot(
    session: Session,
    env: str = "",
    branch: str | None = None,
    why: str = "by hand",
    format: str = "text",
) -> None:
    """Take a snapshot of a branch's database, beside it; of a protected one's server, on RDS."""
    from tasks.app import data

    as_json = check_format(format)
    taken = data.take_snapshot(session, data.find_place(session, env, branch), why)
    if as_json:
        session.console.json(asdict(taken))
    else:
        session.console.data(taken.name)


@task(help={"name": "which one (inv db.snapshots); the newest without it"})
def restore(
    session: Session,
    name: str = "",
    env: str = "",
    branch: str | None = None,
    dry_run: bool = False,
    format: str = "text",
) -> None:
    """Put a snapshot in the place of a branch's database; what was there becomes a snapshot."""
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
