"""What completes a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tasks.core.completion import BRANCHES, COMMITS, RELEASES, candidates

OPTIONS = {
    "deploy": {"--branch": "branch", "-b": "branch", "--dry-run": "", "-d": "", "--tag": "tag"},
    "db.load": {"--replace": "", "--format": "format"},
    "completion": {"--show": ""},
    "rollback": {"--branch": "branch", "-b": "branch", "--env": "env", "--to": "to"},
    "db.copy": {"--from": "from"},
    "adopt": {"--from": "from"},
    "ci.explain": {"--tag": "tag"},
    "queue": {"--retry": "retry"},
    "build": {"--only": "only"},
    "test": {"--only": "only"},
}
THERE = {BRANCHES: ["feature/x", "main"], COMMITS: ["1a2b3c4d"]}


def complete(*words: str) -> list[str]:
    def look_up(what: str, given: Mapping[str, str]) -> Sequence[str]:
        given_words = [f"{name}={value}" for name, value in given.items()]
        return given_words if what == RELEASES else THERE[what]

    return candidates(words, OPTIONS, ["--list", "-l"], look_up)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([""], list(OPTIONS)),
        (["de"], ["deploy"]),
        (["--"], ["--list"]),
        (["deploy", "--"], ["--branch", "--dry-run", "--tag"]),
        (["deploy", "--branch", ""], ["feature/x", "main"]),
        (["deploy", "-b", "fea"], ["feature/x"]),
        (["deploy", "--dry-run", "--tag", ""], ["1a2b3c4d"]),
        (["db.load", "--format", "j"], ["json"]),
        (["db.load", "--format=j"], ["--format=json"]),
        (["deploy", "--branch="], ["--branch=feature/x", "--branch=main"]),
        (["deploy", "--dry-run="], []),
        (["--list="], []),
        (["db.load", ""], []),
        (["completion", "z"], ["zsh"]),
        (["nope", "--branch", ""], list(OPTIONS)),
        # By the branch and the environment that were given before.
        (["rollback", "-b", "x", "--env", "dev", "--to", ""], ["branch=x", "env=dev"]),
        (["rollback", "--branch=x=y", "--env=dev", "--to", ""], ["branch=x=y", "env=dev"]),
        (["rollback", "--env=dev", ""], []),
        (["rollback", "--to", ""], []),
        (["db.copy", "--from", "m"], ["main"]),
        (["adopt", "--from", ""], []),
        (["ci.explain", "--tag", ""], []),
        (["queue", "--retry", ""], ["all"]),
        (["build", "--only", "m"], ["mautic"]),
        (["test", "--only", ""], []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_the_last_word_may_be(words: list[str], found: list[str]) -> None:
    assert complete(*words) == found
