"""Shows the logs of a branch's services on this machine, by time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tasks.adapters.docker import compose
from tasks.adapters.process import Runner
from tasks.core.display import plain
from tasks.core.log_order import LogLine, ends, in_order, time_of

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
    oldest = datetime.now(UTC) - timedelta(seconds=since_seconds) if since_seconds else None
    columns = _Columns()
    known: dict[str, str] = {}
    if tail != 0:
        written: list[LogLine] = []
        ask(lambda line: written.append(_parsed(line)), follow=False, tail=tail, since=oldest)
        columns.widen(written)
        for line in in_order(written):
            on_line(columns.shown(line))
        tail, known = None, ends(written)
    if not follow:
        return
    if known:
        recent = time_of(max(known.values())) - _OVERLAP
        oldest = max(recent, oldest or recent)

    def tell(text: str) -> None:
        line = _parsed(text)
        if not line.stamp or line.stamp > known.get(line.log, ""):
            columns.widen([line])
            on_line(columns.shown(line))

    ask(tell, follow=True, tail=tail, since=oldest)


class _Columns:
    """Lines below each other, as Compose shows them; its width of the names grows meanwhile."""

    _width = 0

    def widen(self, lines: Sequence[LogLine]) -> None:
        """Make room for the names of these lines' containers."""
        self._width = max(self._width, *(len(line.log) for line in lines), 0)

    def shown(self, line: LogLine) -> str:
        """Return a line behind its container's name."""
        return f"{line.log:<{self._width}} | {line.text}" if line.log else line.text


def _parsed(text: str) -> LogLine:
    """Return a line of `docker compose logs`; its own messages belong to no container."""
    log, bar, rest = plain(text).partition(" | ")
    return LogLine.of(log.rstrip(), rest) if bar else LogLine("", "", log)
