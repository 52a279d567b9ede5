"""Build the package: the checkout's files as they are, in the folder ``suite`` beside the program.

What is declared is in pyproject.toml, what a source distribution holds in MANIFEST.in.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
FOLDERS = ("docker", "helm", "tasks", "terraform")
FILES = (
    *(".gitlab-ci.yml", "CHANGELOG.md", "inv"),
    *("requirements.lock", "requirements-helm.lock", "requirements-install.lock"),
)
OURS = {"plugins", "themes", "translations", "config"}
"""Folders of docker/mautic that are this repository's own; only what explains them goes along."""

LEFT_OUT = shutil.ignore_patterns("__pycache__", ".terraform", "*.tfstate*", ".DS_Store")


def left_out(folder: str, names: list[str]) -> set[str]:
    """Return which of a folder's entries are not part of the package."""
    place = Path(folder).relative_to(HERE)
    if place.parent == Path("docker/mautic") and place.name in OURS:
        return set(names) - {"README.md"}
    return LEFT_OUT(folder, names)


class BuildWithSuite(build_py):
    """Builds the program, and puts the suite's files beside it."""

    def run(self) -> None:
        """Build it."""
        super().run()
        suite = Path(self.build_lib) / "mautic_multidev" / "suite"
        shutil.rmtree(suite, ignore_errors=True)
        suite.mkdir(parents=True)
        for name in FOLDERS:
            shutil.copytree(HERE / name, suite / name, symlinks=True, ignore=left_out)
        for name in FILES:
            shutil.copy2(HERE / name, suite / name)


setup(cmdclass={"build_py": BuildWithSuite})
