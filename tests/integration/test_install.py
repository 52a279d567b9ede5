"""The installer of the locks: what they name and nothing else, whatever index and pip there are."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from virtualenv.seed.wheels.embed import BUNDLE_FOLDER

from tasks.adapters import install
from tests.support.packages import replica, serve
from tests.support.suite import ROOT

OLD_PIP = ROOT / "tests" / "support" / "pip.lock"


class World:
    """Both locks over small wheels, and an index that serves these and newer ones.

    Args:
        root: where it is made.
        url: the index.
        wheels: what the index serves.
    """

    def __init__(self, root: Path, url: str, wheels: Path) -> None:
        self.root = root
        self.url = url
        self.wheels = wheels
        self.names: dict[str, list[str]] = {}
        for lock in ("requirements.lock", "requirements-dev.lock", "requirements-install.lock"):
            text, self.names[lock] = replica(ROOT / lock, wheels)
            (root / lock).write_text(text)

    def locks(self, *names: str) -> list[str]:
        """Return the paths of locks."""
        return [str(self.root / name) for name in names]

    def environ(self, **more: str) -> dict[str, str]:
        """Return an environment with this index and nobody's settings."""
        own = {"PATH": os.environ["PATH"], "HOME": str(self.root), "PIP_CONFIG_FILE": os.devnull}
        return {**own, "PIP_INDEX_URL": self.url, **more}

    def run(self, venv: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a Python of a virtual environment."""
        return subprocess.run(
            [str(venv / "bin" / "python"), "-I", *args],
            env=self.environ(**more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def install(self, venv: Path, *names: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the installer."""
        return self.run(venv, install.__file__, *self.locks(*names), **more)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    wheels = root / "wheels"
    wheels.mkdir()
    with serve(wheels) as url:
        yield World(root, url, wheels)


@pytest.fixture(scope="module")
def pips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Wheels of pip: the oldest that the README promises (Debian 12's), and a new one."""
    folder = tmp_path_factory.mktemp("pips")
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*argv, "-r", str(OLD_PIP), "-d", str(folder)], check=True)
    old = next(folder.glob("pip-*.whl"))
    return {"old": old, "new": max(BUNDLE_FOLDER.glob("pip-*.whl"))}


def make_venv(path: Path, pip: Path) -> Path:
    """Make a virtual environment with a pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    with zipfile.ZipFile(pip) as archive:
        archive.extractall(site_packages(path))
    return path


def site_packages(venv: Path) -> Path:
    """Return where its packages are."""
    return next((venv / "lib").glob("python3*")) / "site-packages"


def releases(*path: str) -> dict[str, str]:
    """Return the version of each package that is installed in places, but not of what installs."""
    found = {
        re.sub(r"[-_.]+", "-", each.name).lower(): each.version
        for each in importlib.metadata.distributions(path=list(path or sys.path))
    }
    return {name: found[name] for name in found.keys() - {"pip", "setuptools", "uv"}}


def expected(lock: str) -> dict[str, str]:
    """Return what a lock of the project names for this Python."""
    text = (ROOT / lock).read_text()
    here = releases().items()
    return {name: version for name, version in here if f"{name}=={version} " in text}


@pytest.mark.parametrize("which", ["old", "new"])
def test_both_locks_are_installed_though_the_index_has_newer_releases(
    world: World, pips: dict[str, Path], tmp_path: Path, which: str
) -> None:
    venv = make_venv(tmp_path / "venv", pips[which])
    for names in (["requirements.lock"], ["requirements.lock", "requirements-dev.lock"]):
        done = world.install(venv, *names)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
        assert releases(str(site_packages(venv))) == expected(names[-1])


def test_the_index_is_one_that_pip_by_itself_fails_with(
    world: World, pips: dict[str, Path], tmp_path: Path
) -> None:
    """Else the test above would hold for an installer that resolves."""
    venv = make_venv(tmp_path / "venv", pips["old"])
    argv = ["-m", "pip", "install", "--dry-run", "--quiet", "--require-hashes", "-r"]
    done = world.run(venv, *argv, *world.locks("requirements-dev.lock"))
    assert done.returncode == 1
    assert "all requirements must have their versions pinned" in done.stderr


def test_the_dev_lock_holds_all_of_the_other() -> None:
    """So that .venv can be brought to it under a program that runs."""
    dev = _entries(ROOT / "requirements-dev.lock")
    for name, entry in _entries(ROOT / "requirements.lock").items():
        assert dev[name] == entry, name


def _entries(lock: Path) -> dict[str, str]:
    """Return the pin and hashes of each package in a lock."""
    kept = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    found = "\n".join(kept).replace(" \\\n", "").splitlines()
    return {line.split("==")[0]: line for line in found}
