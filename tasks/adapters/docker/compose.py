"""Docker Compose: one project, its file and the variables of that file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.adapters.process import Completed, Runner
from tasks.core.engine_address import used_up_addresses
from tasks.core.errors import CommandError, EngineError
from tasks.core.variables import compose_variables

STOP_SECONDS = 300.0
"""Timeout of containers' own grace periods."""


class Compose:
    """One Compose project.

    Args:
        runner: runs ``docker compose``.
        project: the project's name.
        file: its compose file.
        variables: values of the files' variables; the environment is not read for them.
        over: compose files that are laid over it, in this order.
    """

    def __init__(
        self,
        runner: Runner,
        project: str,
        file: Path,
        variables: Mapping[str, str],
        over: Sequence[Path] = (),
    ) -> None:
        self._runner = runner
        self._project = project
        self._files = (file, *over)
        # What the user's own shell has set must not reach into the project.
        self._env: dict[str, str | None] = {
            **compose_variables("\n".join(each.read_text() for each in self._files)),
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
        words: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        stdin: str = "",
        deadline_seconds: float = 900,
    ) -> Completed:
        """Run a service once, with the profile of the same name, and remove its container.

        Args:
            service: its name.
            on_line: called with every line of output.
            words: a command in place of its own.
            variables: more of the container's environment; no secrets.
            stdin: its standard input.
            deadline_seconds: how long it may take.

        Raises:
            CommandError: its exit status was not 0.
            DeadlineError: it was still running at the deadline.
        """
        more = [word for item in (variables or {}).items() for word in ("--env", "=".join(item))]
        argv = ("--profile", service, "run", "--rm", "-T", "--no-deps", *more, service, *words)
        return self._compose(*argv, on_line=on_line, stdin=stdin, deadline=deadline_seconds)

    def argv(self, *args: str) -> list[str]:
        """Return the command line of a Compose command on this project."""
        return [
            *("docker", "compose", "--ansi", "never", "--progress", "plain"),
            *("--project-name", self._project),
            *(word for file in self._files for word in ("--file", str(file))),
            # Ignore a .env file beside the compose file.
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
        try:
            return self._runner.run(
                self.argv(*args), env=self._env, stdin=stdin, deadline=deadline, on_line=on_line
            )
        except CommandError as error:
            fault = used_up_addresses(error.output or "")
            if fault is None:
                raise
            message, hint = fault
            raise EngineError(
                message, command=error.command, output=error.output, hint=hint
            ) from error


def logs(
    runner: Runner,
    project: str,
    on_line: Callable[[str], None],
    *,
    cwd: Path,
    service: str,
    follow: bool,
    tail: int | None,
    since: datetime | None,
) -> None:
    """Pass on the logs of a project's containers, each line with its container's name and time.

    Args:
        runner: runs ``docker compose``.
        project: the project's name; it may be incomplete.
        on_line: called with every line.
        cwd: a directory without a compose file.
        service: only this service; empty for all.
        follow: go on until interrupted.
        tail: number of lines to start with, per container; None for all.
        since: leave out what is older; None for nothing.

    Raises:
        CommandError: the engine cannot be reached, or failed.
    """
    argv = ["docker", "compose", "--project-name", project, "logs", "--no-color", "--timestamps"]
    argv += ["--tail", "all" if tail is None else str(tail)]
    argv += ["--since", since.isoformat()] if since else []
    argv += ["--follow"] if follow else []
    argv += [service] if service else []
    runner.run(argv, cwd=cwd, on_line=on_line)


def execute(
    runner: Runner,
    container: str,
    words: Sequence[str],
    *,
    deadline_seconds: float,
    check: bool = True,
) -> Completed:
    """Run a command in a container to its end.

    Raises:
        CommandError: its exit status was not 0, and ``check`` is set.
        DeadlineError: it was still running at the deadline.
    """
    argv = ["docker", "exec", container, *words]
    return runner.run(argv, deadline=deadline_seconds, check=check)


def stop(runner: Runner, containers: Sequence[str]) -> None:
    """Stop containers, each within its own grace period."""
    runner.run(["docker", "stop", *containers], deadline=STOP_SECONDS)


def start(runner: Runner, containers: Sequence[str]) -> None:
    """Start containers that are stopped."""
    runner.run(["docker", "start", *containers], deadline=STOP_SECONDS)


def run_on_volumes(
    runner: Runner, container: str, image: str, words: Sequence[str], *, deadline_seconds: float
) -> str:
    """Run a program of an image on a container's volumes to its end; return what it writes.

    It has no network and no rights.

    Raises:
        CommandError: its exit status was not 0.
        DeadlineError: it was still running at the deadline.
    """
    argv = [
        *("docker", "run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL"),
        *("--security-opt", "no-new-privileges:true", "--volumes-from", container),
        *("--entrypoint", words[0], image, *words[1:]),
    ]
    return runner.run(argv, deadline=deadline_seconds).stdout


def pipe_on_volumes(
    runner: Runner,
    places: Mapping[str, str],
    image: str,
    words: Sequence[str],
    *,
    source: Iterable[bytes],
    on_line: Callable[[str], None],
) -> int:
    """Run a program of an image that reads bytes, as ``Runner.pipe`` does, and fills volumes.

    It has no network and no rights.

    Args:
        runner: runs docker.
        places: where volumes are mounted in its container, by their names.
        image: the image.
        words: the command.
        source: what it reads.
        on_line: called with every line of its standard error.
    """
    mounts = [word for name, place in places.items() for word in ("--volume", f"{name}:{place}")]
    argv = [
        *("docker", "run", "--rm", "--interactive", "--network", "none", "--read-only"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
        *(*mounts, "--entrypoint", words[0], image, *words[1:]),
    ]
    return runner.pipe(argv, source=source, take=lambda _: None, on_line=on_line)


def pipe(
    runner: Runner,
    container: str,
    words: Sequence[str],
    *,
    source: Iterable[bytes],
    take: Callable[[bytes], None],
    on_line: Callable[[str], None],
    user: str = "",
) -> int:
    """Run a command in a container that reads and writes bytes; as ``Runner.pipe``.

    Args:
        user: the user that runs it; empty for the container's own.
    """
    own = ["--user", user] if user else []
    argv = ["docker", "exec", "--interactive", *own, container, *words]
    return runner.pipe(argv, source=source, take=take, on_line=on_line)


def interact(runner: Runner, container: str, words: Sequence[str]) -> int:
    """Run a command in a container, on this process's own terminal; return its exit status."""
    terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
    return runner.interact(["docker", "exec", "--interactive", *terminal, container, *words])
