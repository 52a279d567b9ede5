"""Errors: what they say, and the exit code of each."""

from __future__ import annotations

import pytest

from tasks.core import errors
from tasks.core.errors import TAIL_LINES, SuiteError

EXIT_CODES = {
    "SuiteError": 1,
    "CommandError": 1,
    "MissingToolError": 1,
    "DeadlineError": 1,
    "RegistryError": 1,
    "EngineError": 1,
    "AwsError": 1,
    "InputError": 2,
    "SettingsError": 2,
    "RefusedError": 3,
    "HeldError": 4,
    "DriftedError": 7,
}
"""The contract with scripts and CI: docs/troubleshooting.md says the same."""


@pytest.mark.parametrize(("name", "code"), EXIT_CODES.items())
def test_exit_codes(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_every_error_is_in_the_tree_and_ends_with_one_of_the_codes() -> None:
    found = [
        value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    ]
    assert len(found) >= len(EXIT_CODES)
    assert all(issubclass(value, SuiteError) for value in found)
    assert {value.exit_code for value in found} == {1, 2, 3, 4, 5, 6, 7}


def test_an_error_says_what_failed_how_and_what_to_do() -> None:
    error = SuiteError("it broke", command="prog -x", output="first\nlast\n", hint="mend it")
    assert error.lines() == [
        "it broke",
        "  command: prog -x",
        "  | first",
        "  | last",
        "  hint: mend it",
    ]
    assert str(error) == "it broke"


def test_only_the_end_of_a_long_output_is_repeated() -> None:
    output = "\n".join(f"line {number}" for number in range(1000))
    lines = SuiteError("it broke", output=output).lines()
    assert len(lines) == 1 + TAIL_LINES
    assert lines[-1] == "  | line 999"


@pytest.mark.parametrize("output", [None, "", "\n \n"])
def test_an_empty_output_is_not_shown(output: str | None) -> None:
    assert SuiteError("it broke", output=output).lines() == ["it broke"]
