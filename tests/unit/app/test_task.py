"""What tasks share: the words that a command line passes on."""

from __future__ import annotations

import pytest

from tasks.app.task import forwarded_command
from tasks.core.errors import InputError


@pytest.mark.parametrize(
    ("argv", "command", "words"),
    [
        (["inv", "console"], "", []),
        (["inv", "console", "--"], "", []),
        (["inv", "console", "--", "a b", "--", "$(c)"], "", ["a b", "--", "$(c)"]),
        (["inv", "console", "--command", "…"], "a 'b c' $(d)", ["a", "b c", "$(d)"]),
        (["inv", "console", "--command", "…", "--"], "a", ["a"]),
    ],
)
def test_words_are_passed_on_as_they_were_given(
    argv: list[str], command: str, words: list[str]
) -> None:
    assert forwarded_command(argv, command) == words


@pytest.mark.parametrize(
    ("argv", "command", "message"),
    [
        (["inv", "console", "--", "a"], "b", "not both"),
        (["inv", "console"], "a 'b", "No closing quotation"),
    ],
)
def test_a_command_that_cannot_be_told_is_bad_input(
    argv: list[str], command: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        forwarded_command(argv, command)
