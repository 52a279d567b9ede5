"""Fixtures of the unit tests, which start no program but a short git: all else is integration."""

from __future__ import annotations

import pytest

from tests.support.inprocess import InProcess
from tests.support.suite import Inv


@pytest.fixture
def inv(inv: Inv) -> InProcess:
    """Runs `inv` in this process, on this checkout, with the same clean environment.

    `inv("names", "--branch", "x", settings={...}, env={...})` returns what a process would.
    """
    return InProcess(inv)
