"""apt: what it knows of Docker, and where the machine gets its packages from. Reads only."""

from __future__ import annotations

import shlex
from pathlib import Path

from tasks.adapters.process import Runner
from tasks.core.doctor.packages import ASKED, Apt, mirrors, read_indexes, read_policy

_SECONDS = 60
SUFFIXES = {".list", ".sources"}


class AptTool:
    """Asks apt."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def knowledge(self) -> Apt:
        """Return what apt knows; with no package cache on the disk this takes seconds.

        Raises:
            CommandError: apt's configuration cannot be read.
        """
        return Apt(
            candidates=read_policy(self._ask("apt-cache", "policy", *ASKED)),
            indexes=read_indexes(self._ask("apt-get", "indextargets", "Created-By: Packages")),
            files=self._source_files(),
        )

    def mirrors(self) -> tuple[str, ...]:
        """Return the addresses of the web servers that packages come from."""
        return mirrors(self._source_files())

    def _ask(self, *argv: str) -> str:
        return self._runner.run(argv, env={"LC_ALL": "C"}, deadline=_SECONDS).stdout

    def _source_files(self) -> dict[str, str]:
        """Return the files that apt reads its sources from, with their texts."""
        answer = self._ask(
            *("apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f"),
            *("PARTS", "Dir::Etc::sourceparts/d"),
        )
        paths = dict(word.split("=", 1) for word in shlex.split(answer))
        single, parts = Path(paths["LIST"]), Path(paths["PARTS"])
        found = [single] if single.is_file() else []
        if parts.is_dir():
            found += sorted(file for file in parts.iterdir() if file.suffix in SUFFIXES)
        return {str(file): file.read_text(errors="replace") for file in found}
