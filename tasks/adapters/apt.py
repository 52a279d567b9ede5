"""apt: what it knows of Docker, and where the machine gets its packages from. Reads only."""

from __future__ import annotations

import shlex
from pathlib import Path

from tasks.adapters.process import Runner
from tasks.core.packages import ASKED, Apt, read_indexes, read_policy

_SECONDS = 60
_PLAIN = {"LC_ALL": "C"}


def knowledge(runner: Runner) -> Apt:
    """Return what apt knows.

    Args:
        runner: runs apt's programs.

    Raises:
        CommandError: apt's configuration cannot be read.
    """
    policy = runner.run(["apt-cache", "policy", *ASKED], env=_PLAIN, deadline=_SECONDS)
    indexes = runner.run(
        ["apt-get", "indextargets", "Created-By: Packages"], env=_PLAIN, deadline=_SECONDS
    )
    return Apt(
        candidates=read_policy(policy.stdout),
        indexes=read_indexes(indexes.stdout),
        files={str(file): file.read_text() for file in _source_files(runner)},
    )


def _source_files(runner: Runner) -> list[Path]:
    """Return the files that apt reads its sources from."""
    asked = ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f"]
    asked += ["PARTS", "Dir::Etc::sourceparts/d"]
    answer = runner.run(asked, env=_PLAIN, deadline=_SECONDS).stdout
    paths = dict(word.split("=", 1) for word in shlex.split(answer))
    single, parts = Path(paths["LIST"]), Path(paths["PARTS"])
    found = [single] if single.is_file() else []
    if parts.is_dir():
        found += sorted(file for file in parts.iterdir() if file.suffix in {".list", ".sources"})
    return found
