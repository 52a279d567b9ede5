"""apt: the Docker packages it offers, and its sources. Reads only."""

from __future__ import annotations

import shlex
from pathlib import Path

from tasks.adapters.process import Runner
from tasks.core.doctor.packages import ASKED, Apt, mirrors, read_indexes, read_policy

_SECONDS = 60
SUFFIXES = {".list", ".sources"}


class AptTool:
    """Runs apt's queries."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def knowledge(self) -> Apt:
        """Return what apt knows; without a package cache this takes seconds.

        Raises:
            CommandError: apt's configuration cannot be read.
        """
        return Apt(
            candidates=read_policy(self._ask("apt-cache", "policy", *ASKED)),
            indexes=read_indexes(self._ask("apt-get", "indextargets", "Created-By: Packages")),
            files=self._source_files(),
        )

    def mirrors(self) -> tuple[str, ...]:
        """Return the URLs of the mirrors."""
        return mirrors(self._source_files())

    def _ask(self, *argv: str) -> str:
        return self._runner.run(argv, env={"LC_ALL": "C"}, deadline=_SECONDS).stdout

    def _source_files(self) -> dict[str, str]:
        """Return the texts of apt's source files, by path."""
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
