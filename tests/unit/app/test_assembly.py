"""Where the suite's files and the project's are put together."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.app import assembly
from tasks.core.errors import InputError
from tasks.core.setting_paths import ProjectPaths

OTHER = ProjectPaths(plugins="plugins", themes="", config="")


@pytest.mark.parametrize(
    ("package", "repository", "paths", "expected"),
    [
        (False, True, ProjectPaths(), False),
        (False, True, OTHER, True),
        (False, False, OTHER, False),  # the image of GitLab's jobs
        (True, False, ProjectPaths(), True),
    ],
)
def test_it_is_done_where_they_are_not_one_checkout(
    package: bool,
    repository: bool,
    paths: ProjectPaths,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if repository:
        (tmp_path / ".git").mkdir()
    monkeypatch.setattr(assembly, "ROOT", tmp_path)
    monkeypatch.setattr(assembly, "IS_PACKAGE", package)
    settings: Any = SimpleNamespace(paths=paths)
    assert assembly.is_assembled(settings) is expected


@pytest.mark.parametrize("named", [True, False])
def test_a_folder_must_be_there_where_settings_name_it(
    named: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A project from before there were translations has no such folder, and names none."""
    monkeypatch.setattr(assembly, "PROJECT", tmp_path)
    given = {"plugins": "", "themes": "", "config": ""}
    paths = ProjectPaths(**given, **({"translations": "words"} if named else {}))
    session: Any = SimpleNamespace(
        settings=SimpleNamespace(paths=paths, environments={}, stacks={}),
        git=SimpleNamespace(files=lambda *_: []),
    )
    if named:
        with pytest.raises(InputError, match=r"no folder words, which paths\.translations names"):
            list(assembly._of_the_project(session))
    else:
        assert list(assembly._of_the_project(session)) == []
