"""What a rehearsal is called, how its results are read, and what is told of them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tasks.core.dump_manifest import Member
from tasks.core.errors import InputError, SuiteError
from tasks.core.names import names, slug
from tasks.core.rehearsal import (
    CheckResult,
    Migrated,
    MigrationResult,
    Rehearsal,
    check_no_rehearsal,
    environment_branch,
    image_tag,
    is_rehearsal,
    mautic_variables,
    read_checks,
    read_migrations,
)
from tasks.core.seeds import Seed

SEED = Seed("20261127t071205", "prod", "5.1.0", "all", 21928, Member(10, "ab"), "cd", "{}")
DONE = MigrationResult("Version1", "done", 1.25, 0.01, "users", 0.75, "leads", ("leads",), "")
FAILED = replace(DONE, migration="Version2", outcome="failed", error="Table 'x' | y is not there")
PAGE = CheckResult("page", "/s/reports", 0.5, "answers 500")


def a_rehearsal(
    *results: MigrationResult, checks: tuple[CheckResult, ...] = (), by: str = "table id"
) -> Rehearsal:
    """Return what came of a rehearsal with these results."""
    migrated = Migrated("7.0.0", 3, by, results)
    seconds = {"build": 1.0, "migrations": 2.5}
    return Rehearsal("main", "dev", "1a-2b", SEED, "2026-11-27T07:12:05", seconds, migrated, checks)


@pytest.mark.parametrize("branch", ["main", "rehearse-main", "feature/x", "a" * 200])
def test_no_branch_has_the_names_of_a_rehearsal(branch: str) -> None:
    def all_names(of: str) -> set[str]:
        found = names(
            of, environment="dev", project="p", namespace="{project}-{slug}", host="{slug}.x"
        )
        return {found.slug, found.namespace, found.host, found.database, found.database_user}

    own = environment_branch(branch)
    assert is_rehearsal(own)
    assert not is_rehearsal(branch)
    check_no_rehearsal(branch)
    with pytest.raises(InputError, match="only inv rehearse makes environments"):
        check_no_rehearsal(own)
    for other in (branch, own.replace("/", "-")[:60]):
        assert not all_names(own) & all_names(other)


def test_the_tag_of_its_images_is_no_branchs() -> None:
    one, other = (image_tag("1a2b3c4d", slug(environment_branch(name))) for name in ("a", "b"))
    assert one != other
    assert one.startswith("1a2b3c4d-")


@pytest.mark.parametrize(
    ("mautic", "variables"),
    [
        ("7.2", ["mautic/mautic:7.2-fpm", "trixie", "8.4"]),
        ("10.0", ["mautic/mautic:10.0-fpm", "trixie", "8.4"]),
        ("6.0", ["mautic/mautic:6.0-fpm", "bookworm", "8.2"]),
        ("our.example.org/mautic:1", ["our.example.org/mautic:1"]),
        ("mautic-code:7.0.0", ["mautic-code:7.0.0"]),
        ("our.example.org/mautic", ["our.example.org/mautic"]),
    ],
)
def test_another_mautic_brings_its_debian_and_php(mautic: str, variables: list[str]) -> None:
    assert list(mautic_variables(mautic).values()) == variables


def test_what_is_no_version_is_refused() -> None:
    with pytest.raises(InputError, match="must be a version such as"):
        mautic_variables("newest")


def test_results_are_read_as_they_are_written() -> None:
    first = {"mautic": "7.0.0", "pending": 2, "rebuilt_by": "creation time"}
    second: dict[str, Any] = {**vars(DONE), "rebuilt": ["leads"]}
    found = read_migrations([json.dumps(first), json.dumps(second)])
    assert found == Migrated("7.0.0", 2, "creation time", (DONE,))
    assert read_checks([json.dumps(vars(PAGE))]) == (PAGE,)


@pytest.mark.parametrize("lines", [[], ["x"], ['{"pending": 1}'], ['{"mautic": ""}', "[]"]])
def test_what_is_no_result_is_an_error(lines: list[str]) -> None:
    with pytest.raises(SuiteError, match="results of the migrations cannot be read"):
        read_migrations(lines)
    if lines:
        with pytest.raises(SuiteError, match="results of the checks cannot be read"):
            read_checks(lines)


def test_failures_are_those_of_migrations_and_checks() -> None:
    assert a_rehearsal(DONE, checks=(replace(PAGE, error=""),)).failures == ()
    assert a_rehearsal(DONE, FAILED).failures == ("migration Version2: Table 'x' | y is not there",)
    assert a_rehearsal(DONE, checks=(PAGE,)).failures == ("page /s/reports: answers 500",)


def test_the_longest_waits_are_told_and_a_machines_own_are_not() -> None:
    assert DONE.row() == ("Version1", "done", "1.25", "-", "0.75 leads", "leads")
    assert a_rehearsal(DONE).summary == (
        "1 of 3 migrations ran in 1.2 s",
        "writers waited 0.75 s at most, for leads",
    )
    assert "only changed" in a_rehearsal(DONE, by="creation time").summary[-1]
    assert a_rehearsal().summary == ("0 of 3 migrations ran in 0.0 s",)


def test_a_page_has_all_of_it_and_json_as_well() -> None:
    done = a_rehearsal(DONE, FAILED, checks=(PAGE,))
    page = done.markdown()
    assert page.startswith("# Upgrade of main from Mautic 5.1.0 to 7.0.0\n")
    assert "- data: seed 20261127t071205 of prod, all contacts, 21,928 rows\n" in page
    assert "| Version1 | done | 1.25 | - | 0.75 leads | leads |\n" in page
    assert "- migration Version2: Table 'x' | y is not there\n" in page
    assert "| page | /s/reports | answers 500 | 0.50 |\n" in page
    told = json.loads(json.dumps(done.as_dict()))
    assert told["seed"]["id"] == SEED.id
    assert [each["migration"] for each in told["migrated"]["results"]] == ["Version1", "Version2"]
    assert told["failures"] == list(done.failures)
    assert "manifest" not in told["seed"]
