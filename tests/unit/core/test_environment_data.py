"""What a new environment's database begins with."""

from __future__ import annotations

import pytest

from tasks.core.environment import Record, State
from tasks.core.environment_data import (
    ALLOWED,
    Data,
    check_choice,
    choose,
    copied,
    seed_database,
)
from tasks.core.errors import InputError, RefusedError
from tests.support.fakes import RELEASE

SEED = "seed:20260102t030405"
FAILED = Record(State.FAILED, "", data=SEED)
LIVING = Record(State.READY, "", history=(RELEASE,), data=SEED)
OLDER = Record(State.READY, "", history=(RELEASE,))


@pytest.mark.parametrize("choice", ["empty", "seed", SEED, "branch:feature/x"])
def test_there_are_three_kinds_of_data(choice: str) -> None:
    assert check_choice(choice) == choice


def test_what_is_no_other_kind_is_a_branch() -> None:
    assert check_choice("feature/x") == "branch:feature/x"
    assert check_choice("branch:seed") == "branch:seed"


@pytest.mark.parametrize("choice", ["seed:", "seed:A", "seed:a_b", "seed:a\n", "dump:a"])
def test_other_data_is_refused(choice: str) -> None:
    with pytest.raises(InputError, match="there is no such data") as caught:
        check_choice(choice)
    assert caught.value.hint == ALLOWED


@pytest.mark.parametrize("choice", ["", "a..b", "branch:"])
def test_what_git_would_refuse_is_no_branch(choice: str) -> None:
    with pytest.raises(InputError, match=f"^--data '{choice}': .* branch name") as caught:
        check_choice(choice)
    assert caught.value.hint == ALLOWED


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
    assert chosen_of(wanted, "empty", record) == chosen


def chosen_of(wanted: str, default: str, record: Record | None, *, protected: bool = False) -> str:
    found = choose(wanted, default, record, protected=protected, resolve=Data, check=Data)
    return found.choice


def test_the_setting_counts_where_nothing_is_wanted() -> None:
    assert chosen_of("", SEED, None) == SEED
    assert chosen_of("empty", SEED, None) == "empty"


def test_what_comes_is_looked_for_only_as_long_as_it_may_come() -> None:
    newest = Data(SEED, "from seed 20260102t030405")

    def chosen(wanted: str, default: str, record: Record | None) -> Data:
        return choose(
            *(wanted, default, record), protected=False, resolve=lambda _: newest, check=Data
        )

    assert chosen("seed", "empty", None) == newest
    for record, wanted in ((LIVING, "seed"), (None, "empty")):
        assert not chosen(wanted, "seed", record).title


OF_BRANCH = Record(State.READY, "", history=(RELEASE,), data=f"branch:main:{SEED[5:]}")


@pytest.mark.parametrize(
    ("wanted", "record", "asked"),
    [
        ("branch:nope", LIVING, ["branch:nope"]),
        ("seed:nope", LIVING, ["seed:nope"]),
        ("seed", OLDER, ["seed"]),
        # What it began with may be over by now.
        ("seed", LIVING, []),
        (SEED, LIVING, []),
        ("branch:main", OF_BRANCH, []),
        ("branch:mai", OF_BRANCH, ["branch:mai"]),
        ("empty", LIVING, []),
        ("", LIVING, []),
        ("branch:nope", None, []),
    ],
)
def test_data_that_an_environment_does_not_get_has_to_be_there_as_well(
    wanted: str, record: Record | None, asked: list[str]
) -> None:
    seen: list[str] = []
    choose(wanted, "empty", record, protected=False, resolve=Data, check=seen.append)
    assert seen == asked


def test_production_gets_no_other_data() -> None:
    assert chosen_of("", "empty", None, protected=True) == "empty"
    with pytest.raises(RefusedError, match="seed:20260102t030405"):
        chosen_of(SEED, "empty", None, protected=True)


def test_a_copy_of_masked_data_is_masked_data() -> None:
    assert copied("main", "empty") == "branch:main"
    once = copied("main", SEED)
    twice = copied("feature/x", once)
    assert (once, twice) == (f"branch:main:{SEED[5:]}", f"branch:feature/x:{SEED[5:]}")
    assert seed_database(twice, "m") == seed_database(SEED, "m") == "m_seed__20260102t030405"
    assert seed_database(copied("main", "empty"), "m") == ""


def test_a_seed_is_in_a_database_that_no_branch_has() -> None:
    assert seed_database(SEED, "my-mautic") == "my_mautic_seed__20260102t030405"
    assert seed_database("empty", "my-mautic") == ""
