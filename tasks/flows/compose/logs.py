"""Shows the logs of a branch's services on this machine, by time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from tasks.adapters.docker import compose
from tasks.adapters.process import Runner
from tasks.core.display import plain
from tasks.core.log_order import LogLine, ends, in_order

_OVERLAP = timedelta(seconds=10)
"""Longer than the engine takes to list all logs: a line of one may be written meanwhile."""


def show_logs(
    runner: Runner,
    project: str,
    on_line: Callable[[str], None],
    *,
    cwd: Path,
    service: str,
    follow: bool,
    tail: int | None,
    since_seconds: int,
) -> None:
    """Pass on the logs of a project's containers, each line with its container's name.

    What there is comes by time, then new lines as they come.

    Args:
        runner: runs ``docker compose``.
        project: the project's name.
        on_line: called with each line.
        cwd: a directory without a compose file.
        service: only this one; empty for all.
        follow: go on until interrupted.
        tail: lines per container to begin with; None for all.
        since_seconds: how old a line may be; 0 for any age.

    Raises:
        CommandError: the engine cannot be reached, or failed.
    """
    ask = partial(compose.logs, runner, project, cwd=cwd, service=service)
    since = f"{since_seconds}s" if since_seconds else ""
    known: dict[str, str] = {}
    if tail != 0:
        written: list[LogLine] = []
        ask(lambda line: written.append(_parsed(line)), follow=False, tail=tail, since=since)
        for line in in_order(written):
            on_line(_shown(line))
        known = ends(written)
    if not follow:
        return
    if known:
        newest = datetime.fromisoformat(f"{max(known.values())}Z")
        tail, since = None, (newest - _OVERLAP).isoformat()

    def tell(text: str) -> None:
        line = _parsed(text)
        if not line.stamp or line.stamp > known.get(line.log, ""):
            on_line(_shown(line))

    ask(tell, follow=True, tail=tail, since=since)


def _parsed(text: str) -> LogLine:
    """Return a line of `docker compose logs`; its own messages belong to no container."""
    log, bar, rest = plain(text).partition(" | ")
    return LogLine.of(log, rest) if bar else LogLine("", "", log)


def _shown(line: LogLine) -> str:
    return f"{line.log} | {line.text}" if line.log else line.text
