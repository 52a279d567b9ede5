"""Puts the suite's files and the project's together, where these are not one checkout.

Builders, Helm and Terraform then find everything where it is in a checkout of the suite.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.adapters.files.assemble import assemble
from tasks.app.paths import ASSEMBLED, IS_PACKAGE, PROJECT, ROOT
from tasks.core.errors import InputError
from tasks.core.project_files import SETTINGS, moved
from tasks.core.setting_paths import BUILT, ProjectPaths

if TYPE_CHECKING:
    from tasks.app.session import Session
    from tasks.core.settings import Settings

_PARTS = ("docker", "helm", "tasks", "terraform")
_LOCKS = "requirements*.lock"
_PASSED_OVER = {"__pycache__", ".terraform"}


def root_of(session: Session) -> Path:
    """Return where all files are as in a checkout of the suite; brings them up to date.

    Raises:
        InputError: a folder that `paths` names is not there.
    """
    if not is_assembled(session.settings):
        return ROOT
    assemble(ASSEMBLED, {**dict(_of_the_suite()), **dict(_of_the_project(session))})
    return ASSEMBLED


def is_assembled(settings: Settings) -> bool:
    """Return True if the suite's files and the project's have to be put together.

    The image of GitLab's jobs holds them as they were put together, and is no repository.
    """
    return IS_PACKAGE or (settings.paths != ProjectPaths() and (ROOT / ".git").exists())


def _of_the_suite() -> Iterator[tuple[str, Path]]:
    """Yield the suite's files without what a project has in their place."""
    places = {f"{BUILT}/{name}" for name in ProjectPaths.model_fields}
    for part in _PARTS:
        for folder, inner, names in os.walk(ROOT / part):
            inner[:] = [
                name
                for name in inner
                if name not in _PASSED_OVER
                and str((Path(folder) / name).relative_to(ROOT)) not in places
            ]
            for name in names:
                path = Path(folder) / name
                yield str(path.relative_to(ROOT)), path
    for path in ROOT.glob(_LOCKS):
        yield path.name, path


def _of_the_project(session: Session) -> Iterator[tuple[str, Path]]:
    """Yield the project's files by the paths of a checkout of the suite."""
    settings = session.settings
    folders = settings.paths.folders
    for there, here in folders.items():
        name = there.rpartition("/")[2]
        # A default is no promise: a project may be older than the folder.
        if name in settings.paths.model_fields_set and not (PROJECT / here).is_dir():
            raise InputError(
                f"there is no folder {here}, which paths.{name} names",
                hint="correct it in invoke.yaml; empty where the project has none",
            )
    back = {here: there for there, here in folders.items()}
    for name in session.git.files(*folders.values()):
        yield moved(name, back), PROJECT / name
    values = (name for own in settings.environments.values() for name in own.values)
    variables = (name for own in settings.stacks.values() for name in own.variables)
    for name in {SETTINGS, *values, *variables}:
        if (PROJECT / name).is_file():
            yield name, PROJECT / name
