"""What the images' programs say while they wait."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.images.wait_messages import (
    ContainerMessages,
    WaitMessage,
    is_own,
    last_message,
    parse_message,
)

BEGAN = datetime(2026, 11, 26, 7, 0, tzinfo=UTC)
REFUSED = "migrate: waiting [database-refused]: db:3306: connection refused"


def after(*lines: str) -> ContainerMessages:
    """Return what was said when these lines came a second apart."""
    said = ContainerMessages()
    for second, line in enumerate(lines):
        said = said.then(line, BEGAN + timedelta(seconds=second))
    return said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (REFUSED, WaitMessage("database-refused", "db:3306: connection refused", final=False)),
        (
            "wait: failed [migration]: it has not run",
            WaitMessage("migration", "it has not run", final=True),
        ),
        (
            "  database: failed [database-tls]: certificate\r\n",
            WaitMessage("database-tls", "certificate", final=True),
        ),
        ("wait: waiting [migration]: ", WaitMessage("migration", "", final=False)),
        ("migrate: done", None),
        ("migrate: waiting for the database", None),
        ("cron: waiting [migration]: x", None),
        ("PHP: migrate: waiting [migration]: x", None),
        ("migrate: waiting [NOT A CODE]: x", None),
        ("", None),
    ],
)
def test_a_line_says_what_a_program_waits_for(line: str, words: WaitMessage | None) -> None:
    assert parse_message(line) == words


@given(st.text())
def test_no_line_is_too_strange_to_be_read(text: str) -> None:
    assert parse_message(text) is None or is_own(text.strip())
    assert last_message(text) is None or text


def test_the_last_words_of_a_log_count() -> None:
    text = f"{REFUSED}\nmigrate: failed [database-access-denied]: mautic@%\nPHP is ending\n"
    assert last_message(text) == WaitMessage("database-access-denied", "mautic@%", final=True)
    assert last_message("Fatal error: out of memory") is None


def test_a_wait_began_with_its_first_words() -> None:
    said = after(REFUSED, REFUSED, "PHP Warning: something", REFUSED)

    assert said.words == parse_message(REFUSED)
    assert said.since == BEGAN


def test_a_database_that_is_away_in_several_ways_is_away_all_the_time() -> None:
    said = after(REFUSED, "migrate: waiting [database-unreachable]: timed out")

    assert said.words == WaitMessage("database-unreachable", "timed out", final=False)
    assert said.since == BEGAN


def test_another_wait_begins_anew() -> None:
    assert after(REFUSED, "migrate: waiting [migration-lock]: x").since == BEGAN + timedelta(
        seconds=1
    )
    assert after(REFUSED, "migrate: failed [database-refused]: x").since == BEGAN + timedelta(
        seconds=1
    )


def test_a_program_that_goes_on_waits_for_nothing() -> None:
    step = "migrate: the migrations: doctrine:migrations:migrate"
    said = after(REFUSED, step, "Loading configuration")

    assert said.words is None
    assert said.since is None
    assert said.line == "Loading configuration"


def test_an_empty_line_says_nothing() -> None:
    assert after(REFUSED, "  ").line == REFUSED
