from __future__ import annotations

import pytest

from tasks.core.migrations import unavailable, word_of

TABLE = r"""
+------------------------------------+-------------------------+---------------------+-------+
| Migration Versions                                           |                     |       |
+------------------------------------+-------------------------+---------------------+-------+
| Migration                          | Status                  | Migrated At         | Time  |
| Mautic\Migrations\Version20230101   | migrated                | 2026-11-26 07:00:00 | 0.1s  |
| Mautic\Migrations\Version20240101   | not migrated            |                     |       |
| Mautic\Migrations\Version20250101   | migrated, not available | 2026-11-26 07:00:01 | 0.1s  |
| Version20260101                    | migrated, not available | 2026-11-26 07:00:02 |       |
+------------------------------------+-------------------------+---------------------+-------+
"""


def test_migrations_that_the_code_does_not_have() -> None:
    assert unavailable(TABLE) == ("Version20250101", "Version20260101")
    assert unavailable("There are no commands defined in the doctrine namespace") == ()


@pytest.mark.parametrize(
    ("line", "failed", "sentence"),
    [
        ("migrate: waiting [database-starting]: not yet", False, "not yet"),
        ("wait: failed [database-access-denied]: no: way", True, "no: way"),
    ],
)
def test_words_of_a_program_that_waits(line: str, failed: bool, sentence: str) -> None:
    word = word_of(f"  {line}\r")
    assert word
    assert (word.failed, word.sentence) == (failed, sentence)


@pytest.mark.parametrize(
    "line", ["", "migrate: done", "migrate: waiting for it", "x waiting [a]: b", "[failed]: x"]
)
def test_other_words_mean_nothing(line: str) -> None:
    assert word_of(line) is None
