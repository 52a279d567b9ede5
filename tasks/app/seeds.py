"""Puts together what makes, lists and removes seeds."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

from tasks.adapters.aws.seed_bucket import SeedBucket
from tasks.adapters.files.dump_file import DumpFile
from tasks.adapters.seed_store import SeedFolder, SeedStore
from tasks.app.data import find_place
from tasks.app.paths import PROJECT, ROOT
from tasks.app.seed_key import seed_key
from tasks.app.session import Session
from tasks.app.yaml_file import read_yaml
from tasks.core.display import megabytes
from tasks.core.durations import hours_of
from tasks.core.errors import InputError, SettingsError, SuiteError
from tasks.core.masking_file import check_rules
from tasks.core.seeds import Seed, SourceServer, check_id, read_server
from tasks.flows.data import DumpSource, SeedSource, Source, mask
from tasks.flows.seeds import (
    KeptSeeds,
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

MASKING = ROOT / "docker" / "mautic" / "php" / "masking.json"
"""The rules of Mautic's own tables."""
RULES = "the project's rules"
"""What the image's program calls the rules that it is sent."""
READER = "MAUTIC_SEED_DB_PASSWORD"
"""The variable with the password of a user who reads another server."""


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


def kept_seeds(session: Session, env: str) -> KeptSeeds:
    """Return the seeds that are kept; only those of an environment if ``--env`` names one.

    Raises:
        InputError: there is no such environment.
        SettingsError: the settings do not say where seeds are kept.
        SuiteError: the store cannot be read.
    """
    if env:
        session.settings.environment(env)
    kept = find_seeds(seed_store(session))
    of_it = tuple(each for each in kept.whole if env in {"", each.source})
    return replace(kept, whole=of_it)


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


def seed_order(
    session: Session, source: str, contacts: int, uploads: bool, server: str | None
) -> SeedOrder:
    """Return the order for a seed of an environment.

    Args:
        session: the run; its redactor hides the key from now on.
        source: the environment.
        contacts: how many contacts go along; 0 for all.
        uploads: whether uploads go along.
        server: ``[USER@]HOST[:PORT]`` of what is read in place of the environment's own server.

    Raises:
        InputError: there is no key or password, that is no server, or the rules cannot be read.
    """
    key, rules = seed_key(session), _rules(session)
    return SeedOrder(source, key, rules, contacts, uploads, _server(session, server))


def _server(session: Session, text: str | None) -> SourceServer | None:
    password = os.environ.get(READER, "")
    session.redactor.add(password)
    server = None if text is None else read_server(text, password)
    if server and server.user and not server.password:
        raise InputError(
            f"the variable {READER}, which holds the password of {server.user}, is not set"
        )
    return server


def find_source(session: Session, named: str) -> Source:
    """Return what ``inv db.load`` was given: a dump's file, ``seed:ID``, or ``seed``: the newest.

    Raises:
        InputError: there is no such file or seed, it is no dump, or there is no key for it.
        SettingsError: the settings do not say where seeds are kept.
        UnreadableError: it is damaged.
        SuiteError: the seed's manifest cannot be read.
    """
    kind, colon, id_ = named.partition(":")
    if kind != "seed":
        file = DumpFile(Path(named))
        return DumpSource(file, file.manifest())
    return find_seed(session, check_id(id_) if colon else "")


def find_seed(session: Session, id_: str) -> SeedSource:
    """Return a seed that is kept, with its key.

    Args:
        session: the run; its redactor hides the key from now on.
        id_: its id; empty for the newest.

    Raises:
        InputError: there is no such seed, no key for it, or another one.
        SettingsError: the settings do not say where seeds are kept.
        SuiteError: the store, or the seed's manifest, cannot be read.
    """
    return _source(session, id_ or newest_id(seed_store(session)))


def check_seed(session: Session, id_: str) -> None:
    """Check that a seed is kept; arguments and errors as for ``find_seed``, without its key."""
    store = seed_store(session)
    stored_seed(store, id_ or newest_id(store))


@cache
def _source(session: Session, id_: str) -> SeedSource:
    """Return a seed; its manifest is read once in a run, however often it is asked for."""
    store = seed_store(session)
    return with_key(session, store, stored_seed(store, id_))


def with_key(session: Session, store: SeedStore, seed: Seed) -> SeedSource:
    """Return a seed with its key.

    Args:
        session: the run; its redactor hides the key from now on.
        store: where it is kept.
        seed: the seed.

    Raises:
        InputError: there is no key, or it is another one than the seed's.
    """
    key = seed_key(session)
    if not seed.is_of(key):
        raise InputError(
            f"the variable {session.settings.seeds.key} holds another key than seed {seed.id} is "
            "encrypted with",
            hint=f"set it to the key that this seed of {seed.source} was made with, or choose "
            "another seed: inv db.seed --list",
        )
    return SeedSource(store, seed, key)


def _rules(session: Session) -> dict[str, Any]:
    """Return the project's own rules; none where no file is named and there is none.

    Raises:
        SettingsError: the file that the settings name is not there.
        InputError: it cannot be read, or a key in it is wrong.
    """
    settings = session.settings.seeds
    path = PROJECT / settings.rules
    try:
        found = read_yaml(path)
    except FileNotFoundError as error:
        if "rules" not in settings.model_fields_set:
            return {}
        raise SettingsError(f"seeds.rules: there is no file {settings.rules}") from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{settings.rules} cannot be read: {reason}") from error
    return check_rules(found, json.loads(MASKING.read_text()), settings.rules)


def plan(
    session: Session,
    env: str,
    branch: str | None,
    contacts: int,
    uploads: bool,
    server: str | None = None,
) -> SeedPlan:
    """Return what ``make`` would do; reads only. Errors as for ``make``."""
    store, order = _ordered(session, env, branch, contacts, uploads, server)
    names = find_place(session, env, branch, dry=True).names
    read = str(order.server or "")
    return SeedPlan(names.environment, names.database, contacts, uploads, str(store), read)


def _ordered(
    session: Session, env: str, branch: str | None, contacts: int, uploads: bool, server: str | None
) -> tuple[SeedStore, SeedOrder]:
    """Return where a seed is kept, and its order: nothing is asked of the environment yet."""
    names = session.names(env, branch)
    store = seed_store(session)
    return store, seed_order(session, names.environment, contacts, uploads, server)


def make(
    session: Session,
    env: str,
    branch: str | None,
    contacts: int,
    uploads: bool,
    server: str | None = None,
) -> Seed:
    """Make a seed of a branch's environment, and keep it.

    Raises:
        SettingsError: the settings do not say where.
        InputError: there is no key, no such environment, or the rules cannot be read.
        SuiteError: it failed; nothing is kept then.
    """
    store, order = _ordered(session, env, branch, contacts, uploads, server)
    place = find_place(session, env, branch)
    with session.console.work(f"mask {place.names.database}") as activity:
        try:
            seed = make_seed(store, order, partial(mask, place), activity.line, now())
        except SuiteError as error:
            # The program knows no name of the file that they came from.
            error.message = error.message.replace(RULES, session.settings.seeds.rules)
            raise
        activity.outcome = f"{seed.rows:,} rows, {megabytes(seed.sealed.bytes)}; " + (
            seed.uploads.title if seed.uploads else "no uploads"
        )
    return seed
