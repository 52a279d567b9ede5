"""The data that a new environment begins with: none, that of a seed, or that of another branch.

A choice is written as ``empty``, ``seed:ID`` or ``branch:NAME``; of a branch whose own data is that
of a seed, ``branch:NAME:ID``. No branch has a colon in its name. Asked for is also ``seed``, the
newest one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tasks.core.environment import Record
from tasks.core.errors import InputError, RefusedError
from tasks.core.names import check_branch, database_prefix

EMPTY = "empty"
"""The choice of a fresh installation."""
SEED, BRANCH = "seed", "branch"
"""The kinds of the others."""

CHOICE = r"^(empty|seed(:[a-z0-9]{1,32})?)$"
"""A choice of data, as the settings take it."""


@dataclass(frozen=True)
class Data:
    """What an environment's database begins with, or has begun with.

    Attributes:
        choice: as it is recorded.
        title: in a few words what comes, and how much; empty once it is there.
        shares: whether the uploads of the seed are shared with other branches, not copied; before a
            plan is made of it, whether they are to be.
    """

    choice: str = EMPTY
    title: str = ""
    shares: bool = False

    @property
    def kind(self) -> str:
        """``empty``, ``seed`` or ``branch``."""
        return self.choice.partition(":")[0]


NOTHING = Data()

Resolve = Callable[[str], Data]
"""Looks for the data of a choice, which is not ``empty``; raises SuiteError if it is not there."""

Check = Callable[[str], object]
"""Only asks whether there is such data, and wakes nothing; raises SuiteError if there is not."""


ALLOWED = "--data takes empty, seed, seed:ID (inv db.seed --list), or a branch's full name"


def check_choice(choice: str) -> str:
    """Return the choice that `inv deploy --data` was given: ``empty``, ``seed[:ID]`` or a branch.

    Raises:
        InputError: it is none of them.
    """
    if re.fullmatch(CHOICE, choice):
        return choice
    kind, _, name = choice.rpartition(":")
    if kind not in {"", BRANCH}:
        raise InputError(f"--data {choice!r}: there is no such data", hint=ALLOWED)
    try:
        return f"{BRANCH}:{check_branch(name)}"
    except InputError as error:
        raise InputError(f"--data {choice!r}: {error.message}", hint=ALLOWED) from error


def begun(record: Record) -> Data:
    """Return the data that an environment has begun with."""
    return Data(record.data or EMPTY, shares=record.shares)


def choose(
    wanted: str,
    default: str,
    record: Record | None,
    *,
    protected: bool,
    resolve: Resolve,
    check: Check,
) -> Data:
    """Return the data of an environment: what it has, else what is wanted, else the default.

    Args:
        wanted: what was asked for, or an empty string.
        default: the environment's setting.
        record: what is stored of it, or None. Once a deploy has succeeded its data stays.
        protected: whether it is production's own.
        resolve: finds what is chosen.
        check: asks whether what is wanted exists, where the environment keeps other data.

    Raises:
        RefusedError: a protected environment would get other data than its own.
        SuiteError: what is chosen, or wanted, is not there.
    """
    if record and record.current:
        there = record.data or EMPTY
        # What it began with may be over by now.
        if wanted not in {"", EMPTY} and not f"{there}:".startswith(f"{wanted}:"):
            check(wanted)
        return begun(record)
    chosen = wanted or (record.data if record else "") or default
    if chosen == EMPTY:
        return NOTHING
    if protected:
        raise RefusedError(f"a protected environment begins with no other data ({chosen})")
    return resolve(chosen)


def copied(branch: str, begun_with: str) -> str:
    """Return the choice of a branch's data.

    Args:
        branch: its full name.
        begun_with: the choice that its own data began with.
    """
    seed = seed_id(begun_with)
    return f"{BRANCH}:{branch}:{seed}" if seed else f"{BRANCH}:{branch}"


def seed_id(choice: str) -> str:
    """Return the id of the seed that a choice's data is of, or an empty string."""
    kind, _, rest = choice.partition(":")
    return {SEED: rest, BRANCH: rest.partition(":")[2]}.get(kind, "")


def seed_database(choice: str, project: str) -> str:
    """Return the database of the seed that a choice's data is of, or an empty string."""
    id_ = seed_id(choice)
    return f"{database_prefix(project)}seed__{id_}" if id_ else ""
