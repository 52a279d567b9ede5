"""The suite as a package: built from a checkout, and installed where only it is."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.local import World
from tests.support.suite import Inv, git

STANDINS = {"INVOKE_IMAGES_SOURCE": "standins"}
"""Variables of runs that build their images without a registry of others."""

Adopt = Callable[[dict[str, str]], World]
"""Makes a project of a repository with these files."""

_BUILD = """\
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


def build(checkout: Path, kind: str, into: Path) -> Path:
    """Build a package from a checkout and return its path.

    Args:
        checkout: what it is built from; what the build leaves stays in it.
        kind: ``wheel`` or ``sdist``.
        into: the folder it is put into.
    """
    into.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-c", _BUILD, f"build_{kind}", str(into)]
    done = subprocess.run(argv, cwd=checkout, check=True, capture_output=True, text=True)
    return into / done.stdout.splitlines()[-1]


@dataclass(frozen=True)
class Installed:
    """The package, installed in an environment of its own.

    Attributes:
        program: the path of mautic-multidev.
        inv: knows a clean environment to run it in.
    """

    program: Path
    inv: Inv

    def start(
        self, where: Path, *args: str, program: str, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a program in a folder, in a process group of its own; arguments as for ``run``."""
        return subprocess.Popen(
            [program, *args],
            cwd=where,
            env=self._environ(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        where: Path,
        *args: str,
        program: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 900,
    ) -> subprocess.CompletedProcess[str]:
        """Run it in a folder to its end.

        Args:
            where: the folder.
            args: the task and its options.
            program: another program than mautic-multidev, such as the project's own ./inv.
            env: variables added to the clean environment.
            timeout: seconds after which the test fails.
        """
        return subprocess.run(
            [str(program or self.program), *args],
            cwd=where,
            env=self._environ(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def _environ(self, extra: Mapping[str, str] | None) -> dict[str, str]:
        return self.inv.environ({"PYTHON": sys.executable, **(extra or {})})


def install(wheel: Path, into: Path, inv: Inv) -> Installed:
    """Install a wheel as pip does, with this Python's packages as its dependencies."""
    venv.create(into, symlinks=True)
    uv = Path(sys.executable).with_name("uv")
    argv = [str(uv), "pip", "install", "--quiet", "--no-config", "--no-deps", "--offline"]
    argv += ["--link-mode", "copy", "--python", str(into / "bin" / "python"), str(wheel)]
    subprocess.run(argv, check=True, capture_output=True, env=inv.environ())
    (packages,) = into.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return Installed(into / "bin" / "mautic-multidev", inv)


def repository(where: Path, files: Mapping[str, str]) -> Path:
    """Make a git repository with one commit of these files; none is one without a commit."""
    where.mkdir(parents=True)
    git(where, "init", "--quiet")
    for name, text in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if files:
        commit(where)
    return where


def commit(where: Path) -> None:
    """Commit everything as a person would who has no settings of git."""
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--message", "change")


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder outside git's own, by path."""
    return {
        os.path.relpath(path, folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
