"""What the sessions of noxfile.py run for the words that follow --."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.suite import ROOT

UNIT = "tests/unit"
ONE = "tests/unit/core/test_names.py::test_one"


@pytest.fixture(scope="module")
def noxfile() -> Any:
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("words", "run"),
    [
        ([], [UNIT]),
        (["-k", "x"], ["-k", "x", UNIT]),
        (["--lf"], ["--lf", UNIT]),
        ([ONE], [ONE]),
        (["-x", ONE], ["-x", ONE]),
    ],
)
def test_a_session_keeps_its_family_unless_a_file_is_named(
    noxfile: Any, words: list[str], run: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(noxfile, "_run", lambda _, *argv, **__: seen.extend(argv))
    noxfile._pytest(SimpleNamespace(name="unit", posargs=words), "unit")
    assert seen[-len(run) :] == run
    assert seen.count(UNIT) == run.count(UNIT)
