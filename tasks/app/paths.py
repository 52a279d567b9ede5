"""Where the suite's own files lie on the disk, and where those of the project do.

In a checkout of the suite both are the checkout. Installed as a package the suite brings its files
along, and the project is the repository that it is run in.
"""

from __future__ import annotations

from pathlib import Path

from tasks.core.project_files import OWN, SETTINGS


def project_of(folder: Path) -> Path:
    """Return the project that a folder is in: the nearest with settings, else the repository."""
    above = (folder, *folder.parents)
    for name in (SETTINGS, ".git"):
        for place in above:
            if (place / name).exists():
                return place
    return folder


ROOT = Path(__file__).resolve().parents[2]
"""The suite's own files: tasks, chart, Dockerfiles, Terraform modules. Only read."""

IS_PACKAGE = not (ROOT / SETTINGS).is_file()
"""Whether the suite is installed as a package, which brings no settings."""

PROJECT = project_of(Path.cwd()) if IS_PACKAGE else ROOT
"""The project: its settings, its plugins and themes, and the results of runs."""

ASSEMBLED = PROJECT / OWN / "root"
"""The suite's files with the project's in their places, where these are not one checkout."""

RECORD = PROJECT / "build.json"
"""The result of a build of a branch's images, for later jobs."""
