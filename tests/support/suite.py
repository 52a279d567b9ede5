"""Running the suite as ./inv does: isolated Python in a checkout, with a clean environment."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tasks.adapters.terminal.console import VERBOSE
from tasks.core.variables import inherited_variables
from tests.support.warm import Forked, Warm

ROOT = Path(__file__).resolve().parents[2]

PASSED_ON = (
    "PATH",
    "LANG",
    "TMPDIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
)
"""Variables of this process that a clean environment keeps: where things are, never what to do."""


def git(where: Path, *args: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in a directory, independent of the machine's own git settings; return its stdout."""
    env = {
        **inherited_variables(os.environ),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "GIT_AUTHOR_NAME": "Ada Test",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada Test",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
        **(env or {}),
    }
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-C", str(where), *args],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def commit_all(where: Path, message: str = "change") -> str:
    """Commit everything in a checkout; return the commit's SHA."""
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(where, "rev-parse", "HEAD")


def copy_project(target: Path) -> Path:
    """Copy what git would take of this project into a new repository of one commit on `main`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        env=inherited_variables(os.environ),
        check=True,
        capture_output=True,
    ).stdout.split(b"\0")
    target.mkdir(parents=True)
    for name in (os.fsdecode(entry) for entry in listed if entry):
        source = ROOT / name
        # A file that is deleted but not yet committed as such is listed, too.
        if source.is_file() or source.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name, follow_symlinks=False)
    git(target, "init", "--quiet")
    commit_all(target, "the project")
    # It is copied and run many times: one file for all objects, and modules that are compiled.
    git(target, "gc", "--quiet")
    compileall.compile_dir(target / "tasks", quiet=1)
    return target


PYTHON = (sys.executable, "-B", "-E", "-s", "-X", "utf8")
PROGRAM = (*PYTHON, "-m", "tasks")


class Inv:
    """Runs the suite's command line in a checkout.

    Args:
        home: the HOME of every run.
        scratch: where settings files are put.
        warm: whether runs that read nothing are forked from a process that has imported the suite:
            for many runs in one checkout, whose `tasks` stay as they are. It needs `close`.
    """

    def __init__(self, home: Path, scratch: Path, *, warm: bool = False) -> None:
        self._home = home
        self._scratch = scratch
        self._files = 0
        self._warm: dict[Path, Warm] | None = {} if warm else None
        self._starting = threading.Lock()
        plugins = Path.home() / ".docker" / "cli-plugins"
        if plugins.is_dir():  # buildx and compose of a person's machine may live there
            (home / ".docker").mkdir()
            (home / ".docker" / "cli-plugins").symlink_to(plugins)

    def environ(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the clean environment of a run."""
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {
            **kept,
            "HOME": str(self._home),
            **(extra or {}),
        }

    def argv(self, *args: str, settings: Mapping[str, Any] | None = None) -> list[str]:
        """Return the command line of a run; settings go into a file given with -f."""
        argv = [*PROGRAM]
        if settings is not None:
            self._files += 1
            path = self._scratch / f"settings-{self._files}.yaml"
            path.write_text(yaml.safe_dump(dict(settings)))
            argv += ["-f", str(path)]
        return [*argv, *args]

    def __call__(
        self,
        cwd: Path,
        *args: str,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Run `inv` to its end.

        Args:
            cwd: the checkout, e.g. the fixture of that name.
            args: the task and its options.
            settings: what invoke.yaml is overridden with.
            env: variables added to the clean environment.
            stdin: what the run reads.
            timeout: seconds after which the test fails.
        """
        argv = self.argv(*args, settings=settings)
        if self._warm is not None and not stdin:
            return self._forked(cwd).run(argv[len(PROGRAM) :], self.environ(env), timeout)
        return subprocess.run(
            argv,
            cwd=cwd,
            env=self.environ(env),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def start(
        self,
        cwd: Path,
        *args: str,
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str] | Forked:
        """Start `inv` in a process group of its own, for tests that interrupt or race it.

        They follow what it does by its lines, so all of these come at once.
        """
        env = {VERBOSE: "1", **(env or {})}
        argv = self.argv(*args, settings=settings)
        if self._warm is not None:
            return self._forked(cwd).start(argv[len(PROGRAM) :], self.environ(env))
        return subprocess.Popen(
            argv,
            cwd=cwd,
            env=self.environ(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def close(self) -> None:
        """End what runs are forked from."""
        for each in (self._warm or {}).values():
            each.close()

    def _forked(self, checkout: Path) -> Warm:
        assert self._warm is not None
        with self._starting:
            if checkout not in self._warm:
                self._warm[checkout] = Warm(PYTHON, checkout, self.environ())
            return self._warm[checkout]
