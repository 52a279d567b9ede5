"""Branch names: what the suite takes for one is what git does."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.core.test_names import HIDDEN, ILLEGAL, LEGAL, is_legal


def git_accepts(branch: str) -> bool:
    done = subprocess.run(
        ["git", "check-ref-format", "--branch", branch], capture_output=True, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize("branch", [*LEGAL, *HIDDEN])
def test_git_accepts_what_gets_names_and_what_is_hidden(branch: str) -> None:
    assert git_accepts(branch)


@pytest.mark.parametrize("branch", ILLEGAL)
def test_git_refuses_what_is_bad_input(branch: str) -> None:
    assert not git_accepts(branch)


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet="ab/.@{~^:?*[\\-\x00\x01\x7f é\n", min_size=1, max_size=12))
def test_the_rules_are_git_s_own(branch: str) -> None:
    # git's versions differ over "@" alone, which can stand for HEAD.
    assume("\0" not in branch and branch != "@")
    assert is_legal(branch) == git_accepts(branch)
