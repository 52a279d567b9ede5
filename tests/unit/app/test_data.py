"""Whose data a branch can get."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tasks.adapters.files.lock import state_folder
from tasks.adapters.seed_store import SeedFolder
from tasks.app import beginning, data, seeds
from tasks.app.session import Session
from tasks.core.environment_data import ALLOWED
from tasks.core.errors import ClusterError, InputError, RefusedError, SuiteError
from tests.support.fakes import NAMES
from tests.support.inprocess import InProcess

SESSION = cast("Session", None)


def fail(monkeypatch: pytest.MonkeyPatch, error: SuiteError) -> None:
    """Let the other branch's environment not be found."""

    def find_existing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(data, "find_existing", find_existing)


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


# -- what is refused before anything is woken -----------------------------------------------------


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The branches that are woken; only that of lost has no environment."""
    seen: list[str] = []

    def find_existing(session: Any, env: str, branch: str | None) -> Any:
        if branch == "lost":
            raise InputError("lost has no environment in local")
        names = SimpleNamespace(environment="local", branch=branch, namespace="n")
        target = SimpleNamespace(data=None, deployer=None)
        return SimpleNamespace(target=target, owner=None, names=names)

    def be_used(session: Any, target: Any, owner: Any, names: Any, *, dry: bool) -> None:
        seen.append(names.branch)

    monkeypatch.setattr(data, "find_existing", find_existing)
    monkeypatch.setattr(data, "be_used", be_used)
    return seen


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["db.copy", "--from", "main"], "main cannot be copied onto itself"),
        (["db.copy", "--from", "lost"], "lost has no environment in local"),
        (["db.load", "--file", "/nosuch/file"], "there is no file /nosuch/file"),
        (["db.dump", "--file", "/nosuch/file"], "--file /nosuch/file: there is no folder /nosuch"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_done_wakes_nobody(
    words: list[str], error: str, woken: list[str], inv: InProcess
) -> None:
    done = inv(*words, "--branch", "main")
    assert (done.returncode, woken) == (2, [])
    assert done.stderr.startswith(f"error: {error}\n")


def test_the_source_of_a_copy_is_woken_as_well(
    woken: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    keep: Callable[[Any], None] = asked.append
    monkeypatch.setattr(data, "require_mautic", keep)
    monkeypatch.setattr(data, "check_writable", lambda *_: NAMES)
    place, other = data.find_pair(SESSION, "", NAMES.branch, "main")
    assert woken == [place.names.branch, "main"]
    assert asked == [other]


def test_data_of_a_branch_that_is_not_there_is_told_with_what_there_is(woken: list[str]) -> None:
    with pytest.raises(InputError, match="lost has no environment") as caught:
        beginning.find(SESSION, NAMES, "branch:lost")
    assert caught.value.hint == ALLOWED
    assert woken == []


@pytest.mark.parametrize(
    ("setting", "uploads", "shares"),
    [("share", True, True), ("share", False, False), ("copy", True, False)],
)
def test_the_uploads_of_a_seed_are_shared_where_the_settings_say_so(
    setting: str, uploads: bool, shares: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SimpleNamespace(seed=SimpleNamespace(id="1"), title="a seed", has_uploads=uploads)
    monkeypatch.setattr(beginning, "find_seed", lambda *_: source)
    settings = SimpleNamespace(seeds=SimpleNamespace(uploads=setting))
    session = cast("Session", SimpleNamespace(settings=settings))
    found = beginning.find(session, NAMES, "seed:1")
    assert (found.choice, found.title, found.shares) == ("seed:1", "from a seed", shares)


def test_whether_there_is_such_data_is_asked_without_waking_anybody(
    woken: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beginning.check(SESSION, NAMES, "branch:main")
    with pytest.raises(InputError, match="lost has no environment") as caught:
        beginning.check(SESSION, NAMES, "branch:lost")
    assert caught.value.hint == ALLOWED
    monkeypatch.setattr(seeds, "seed_store", lambda _: SeedFolder(tmp_path))
    for choice, error in (("seed:nope", "of seed nope"), ("seed", "there are no seeds")):
        with pytest.raises(InputError, match=error):
            beginning.check(SESSION, NAMES, choice)
    assert woken == []


def test_empty_data_is_not_taken_for_the_setting(inv: InProcess) -> None:
    done = inv("deploy", "--branch", "main", "--data", "", "--dry-run")
    assert done.returncode == 2
    assert "error: --data '': the branch name is empty\n" in done.stderr
    assert ALLOWED in done.stderr


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
