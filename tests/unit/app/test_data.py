"""Whose data a branch can get."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, cast

import pytest

from tasks.adapters.files.lock import state_folder
from tasks.app import data
from tasks.app.session import Session
from tasks.core.errors import ClusterError, InputError, RefusedError, SuiteError
from tests.support.fakes import NAMES

SESSION = cast("Session", None)


def fail(monkeypatch: pytest.MonkeyPatch, error: SuiteError) -> None:
    """Let the other branch's environment not be found."""

    def find_place(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(data, "find_place", find_place)


def test_the_data_of_a_branch_without_the_right_to_it_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail(monkeypatch, ClusterError("GET /apis/…: 403 forbidden", status=403))
    with pytest.raises(RefusedError) as caught:
        data.find_other(SESSION, NAMES, "main")
    assert caught.value.exit_code == 3
    assert caught.value.message == (
        "feature/x cannot get the data of main: you have no right to the environment of main in "
        "local"
    )
    assert "whoever has rights to both runs this command" in str(caught.value.hint)


def test_any_other_failure_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, ClusterError("no answer"))
    with pytest.raises(ClusterError, match="no answer"):
        data.find_other(SESSION, NAMES, "main")


def test_a_branch_does_not_get_its_own() -> None:
    with pytest.raises(InputError, match="cannot be copied onto itself"):
        data.find_other(SESSION, NAMES, NAMES.branch)


def test_what_copies_of_earlier_versions_have_left_is_removed_once_it_is_nobody_s(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = state_folder(os.environ) / data.SNAPSHOTS
    for name in (".copy-old", ".copy-new", "mautic-x"):
        (folder / name).mkdir(parents=True)
        (folder / name / "dump.zip").touch()
    before = time.time() - data.LEFTOVER_SECONDS - 1
    for name in (".copy-old", "mautic-x"):
        os.utime(folder / name, (before, before))
    data.remove_leftovers()
    assert sorted(each.name for each in folder.iterdir()) == [".copy-new", "mautic-x"]
