"""What completes a command line."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tasks.core.completion import BRANCHES, COMMITS, candidates

OPTIONS = {
    "deploy": {"--branch": "branch", "-b": "branch", "--dry-run": "", "-d": "", "--tag": "tag"},
    "db.load": {"--replace": "", "--format": "format"},
    "completion": {"--show": ""},
}
THERE = {BRANCHES: ["feature/x", "main"], COMMITS: ["1a2b3c4d"]}


def complete(*words: str) -> list[str]:
    def look_up(what: str) -> Sequence[str]:
        return THERE[what]

    return candidates(words, OPTIONS, ["--list", "-l"], look_up)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([""], ["deploy", "db.load", "completion"]),
        (["de"], ["deploy"]),
        (["--"], ["--list"]),
        (["deploy", "--"], ["--branch", "--dry-run", "--tag"]),
        (["deploy", "--branch", ""], ["feature/x", "main"]),
        (["deploy", "-b", "fea"], ["feature/x"]),
        (["deploy", "--dry-run", "--tag", ""], ["1a2b3c4d"]),
        (["db.load", "--format", "j"], ["json"]),
        (["db.load", ""], []),
        (["completion", "z"], ["zsh"]),
        (["nope", "--branch", ""], ["deploy", "db.load", "completion"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_the_last_word_may_be(words: list[str], found: list[str]) -> None:
    assert complete(*words) == found
