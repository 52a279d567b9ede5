"""Docker Compose: one project, its file and the variables the file is filled with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.adapters.process import Completed, Runner
from tasks.core.variables import in_compose_file


class Compose:
    """One Compose project.

    Args:
        runner: runs ``docker compose``.
        project: the project's name.
        file: its compose file.
        variables: what the file's variables are; nothing else is read for them.
    """

    def __init__(
        self, runner: Runner, project: str, file: Path, variables: Mapping[str, str]
    ) -> None:
        self._runner = runner
        self._project = project
        self._file = file
        # What the user's own shell has set must not reach into the project.
        self._env: dict[str, str | None] = {
            **in_compose_file(file.read_text()),
            **variables,
            "COMPOSE_IGNORE_ORPHANS": "1",
            "COMPOSE_MENU": "0",
        }

    def config(self, profiles: Sequence[str] = ()) -> dict[str, Any]:
        """Return the project as Compose understands it, every variable filled in."""
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        done = self._compose(*chosen, "config", "--format", "json")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def up(
        self,
        services: Sequence[str],
        on_line: Callable[[str], None],
        *,
        recreate: bool | None = None,
        profiles: Sequence[str] = (),
    ) -> None:
        """Start services, without those they depend on.

        Args:
            services: their names.
            on_line: called with every line of output.
            recreate: True replaces their containers, False only starts those that are there;
                None replaces those whose definition changed.
            profiles: profiles that the services need.
        """
        how = {None: (), True: ("--force-recreate",), False: ("--no-recreate",)}[recreate]
        chosen = [word for profile in profiles for word in ("--profile", profile)]
        self._compose(*chosen, "up", "-d", "--no-deps", *how, *services, on_line=on_line)

    def stop(self, services: Sequence[str], on_line: Callable[[str], None]) -> None:
        """Stop services, each within its own grace period."""
        self._compose("stop", *services, on_line=on_line)

    def run(
        self,
        service: str,
        on_line: Callable[[str], None] | None = None,
        *,
        stdin: str = "",
        deadline_seconds: float = 900,
    ) -> Completed:
        """Run a service of a profile of its own once, in a container that is then removed.

        Raises:
            CommandError: its exit status was not 0.
            DeadlineError: it was still running at the deadline.
        """
        argv = ("--profile", service, "run", "--rm", "-T", "--no-deps", service)
        return self._compose(*argv, on_line=on_line, stdin=stdin, deadline=deadline_seconds)

    def argv(self, *args: str) -> list[str]:
        """Return the command line of a Compose command on this project."""
        return [
            *("docker", "compose", "--ansi", "never", "--progress", "plain"),
            *("--project-name", self._project, "--file", str(self._file)),
            # A file .env beside the compose file is somebody's own: it does not count here.
            *("--env-file", os.devnull),
            *args,
        ]

    def _compose(
        self,
        *args: str,
        on_line: Callable[[str], None] | None = None,
        stdin: str = "",
        deadline: float = 900,
    ) -> Completed:
        return self._runner.run(
            self.argv(*args), env=self._env, stdin=stdin, deadline=deadline, on_line=on_line
        )
