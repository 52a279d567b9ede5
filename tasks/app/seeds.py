"""Puts together what makes, lists and removes seeds."""

from __future__ import annotations

from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from tasks.adapters.aws.seed_bucket import SeedBucket
from tasks.adapters.files.dump_file import DumpFile
from tasks.adapters.seed_store import SeedFolder, SeedStore
from tasks.app.data import find_place
from tasks.app.paths import PROJECT
from tasks.app.seed_key import seed_key
from tasks.app.session import Session
from tasks.core.display import megabytes
from tasks.core.errors import InputError, SettingsError
from tasks.core.seeds import Seed, check_id
from tasks.core.setting_values import hours_of
from tasks.flows.data import DumpSource, SeedSource, Source, mask
from tasks.flows.seeds import (
    SeedOrder,
    SeedPlan,
    SeedSweep,
    find_seeds,
    make_seed,
    newest_id,
    plan_seed_sweep,
    run_seed_sweep,
    stored_seed,
)
from tasks.flows.views import now


def seed_store(session: Session) -> SeedStore:
    """Return where the project keeps its seeds.

    Raises:
        SettingsError: the settings do not say.
    """
    own = session.settings.seeds
    if not own.store:
        raise SettingsError(
            "seeds.store is not set: nowhere to keep seeds",
            hint="set it to s3://BUCKET/PREFIX, or to a folder (docs/data.md)",
        )
    if not own.store.startswith("s3://"):
        return SeedFolder(PROJECT / Path(own.store).expanduser())
    bucket, _, prefix = own.store.removeprefix("s3://").partition("/")
    return SeedBucket(session.aws(own.stack), bucket, prefix)


def seed_lifetime(session: Session) -> timedelta:
    """Return how long a seed is kept."""
    return timedelta(hours=hours_of(session.settings.seeds.lifetime))


def seed_sweep(session: Session) -> SeedSweep:
    """Return the plan to remove seeds whose time is over; an empty one where none are kept."""
    if not session.settings.seeds.store:
        return SeedSweep({})
    kept = find_seeds(seed_store(session))
    return plan_seed_sweep(kept, seed_lifetime(session), now())


def remove_seeds(session: Session, sweep: SeedSweep) -> None:
    """Remove the seeds of a plan, if there are any."""
    if sweep.gone:
        with session.console.work("remove seeds") as activity:
            run_seed_sweep(seed_store(session), sweep)
            activity.outcome = f"{len(sweep.gone)} removed"


def seed_order(session: Session, source: str, contacts: int, uploads: bool) -> SeedOrder:
    """Return the order for a seed of an environment.

    Args:
        session: the run; its redactor hides the key from now on.
        source: the environment.
        contacts: how many contacts go along; 0 for all.
        uploads: whether uploads go along.

    Raises:
        InputError: there is no key, or the rules cannot be read.
    """
    rules = _rules(PROJECT / session.settings.seeds.rules)
    return SeedOrder(source, seed_key(session), rules, contacts, uploads)


def find_source(session: Session, named: str) -> Source:
    """Return what ``inv db.load`` was given: a dump's file, or ``seed:ID``.

    Raises:
        InputError: there is no such file or seed, or no key for it.
        SettingsError: the settings do not say where seeds are kept.
        UnreadableError: it is no dump, or is not whole.
        SuiteError: the seed's manifest cannot be read.
    """
    kind, _, id_ = named.partition(":")
    if kind != "seed":
        file = DumpFile(Path(named))
        return DumpSource(file, file.manifest())
    return find_seed(session, check_id(id_))


def find_seed(session: Session, id_: str) -> SeedSource:
    """Return a seed that is kept, with its key.

    Args:
        session: the run; its redactor hides the key from now on.
        id_: its id; empty for the newest.

    Raises:
        InputError: there is no such seed, or no key for it.
        SettingsError: the settings do not say where seeds are kept.
        SuiteError: the store, or the seed's manifest, cannot be read.
    """
    return _source(session, id_ or newest_id(seed_store(session)))


@cache
def _source(session: Session, id_: str) -> SeedSource:
    """Return a seed; its manifest is read once in a run, however often it is asked for."""
    store = seed_store(session)
    return SeedSource(store, stored_seed(store, id_), seed_key(session))


def _rules(path: Path) -> dict[str, Any]:
    """Return the project's own rules; none where there is no such file."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path.name} must hold keys and values: tables and plugins")
    return found


def plan(session: Session, env: str, branch: str | None, contacts: int, uploads: bool) -> SeedPlan:
    """Return what ``make`` would do; reads only. Errors as for ``make``."""
    place = find_place(session, env, branch, dry=True)
    store = seed_store(session)
    seed_order(session, place.names.environment, contacts, uploads)
    names = place.names
    return SeedPlan(names.environment, names.database, contacts, uploads, str(store))


def make(session: Session, env: str, branch: str | None, contacts: int, uploads: bool) -> Seed:
    """Make a seed of a branch's environment, and keep it.

    Raises:
        SettingsError: the settings do not say where.
        InputError: there is no key, no such environment, or the rules cannot be read.
        SuiteError: it failed; nothing is kept then.
    """
    place = find_place(session, env, branch)
    store = seed_store(session)
    order = seed_order(session, place.names.environment, contacts, uploads)
    with session.console.work(f"mask {place.names.database}") as activity:
        seed = make_seed(store, order, partial(mask, place), activity.line, now())
        activity.outcome = f"{seed.rows:,} rows, {megabytes(seed.sealed.bytes)}; " + (
            seed.uploads.title if seed.uploads else "no uploads"
        )
    return seed
