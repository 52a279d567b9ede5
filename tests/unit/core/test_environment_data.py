"""What a new environment's database begins with."""

from __future__ import annotations

import pytest

from tasks.core.environment import Record, State
from tasks.core.environment_data import check_choice, choose, seed_database
from tasks.core.errors import InputError, RefusedError
from tests.support.fakes import RELEASE

SEED = "seed:20260102t030405"
FAILED = Record(State.FAILED, "", data=SEED)
LIVING = Record(State.READY, "", history=(RELEASE,), data=SEED)
OLDER = Record(State.READY, "", history=(RELEASE,))


@pytest.mark.parametrize("choice", ["empty", SEED])
def test_there_are_two_kinds_of_data(choice: str) -> None:
    assert check_choice(choice) == choice


@pytest.mark.parametrize("choice", ["", "seed", "seed:", "seed:A", "seed:a_b", "full", "seed:a\n"])
def test_other_data_is_refused(choice: str) -> None:
    with pytest.raises(InputError, match="there is no such data"):
        check_choice(choice)


@pytest.mark.parametrize(
    ("wanted", "record", "chosen"),
    [
        ("", None, "empty"),
        (SEED, None, SEED),
        ("", FAILED, SEED),
        ("empty", FAILED, "empty"),
        ("empty", LIVING, SEED),
        (SEED, OLDER, "empty"),
    ],
)
def test_data_is_chosen_until_a_deploy_has_succeeded(
    wanted: str, record: Record | None, chosen: str
) -> None:
    assert choose(wanted, "empty", record, protected=False) == chosen


def test_the_setting_counts_where_nothing_is_wanted() -> None:
    assert choose("", SEED, None, protected=False) == SEED
    assert choose("empty", SEED, None, protected=False) == "empty"


def test_production_gets_no_seed() -> None:
    assert choose("", "empty", None, protected=True) == "empty"
    with pytest.raises(RefusedError, match="seed:20260102t030405"):
        choose(SEED, "empty", None, protected=True)


def test_a_seed_is_in_a_database_that_no_branch_has() -> None:
    assert seed_database(SEED, "my-mautic") == "my_mautic_seed__20260102t030405"
    assert seed_database("empty", "my-mautic") == ""
