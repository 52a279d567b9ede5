"""Output to the user or the job log: progress and messages to stderr, data to stdout.

There are four modes, chosen once: live progress on a terminal; a line for each finished piece of
work in a pipe; every line, folded by GitLab's section markers, in a GitLab job; every line as it
comes where ``VERBOSE`` is set, and on a terminal that cannot move its cursor.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from tasks.adapters.terminal.piped import PipedWork
from tasks.core.display import PROGRAM, as_typed, plain, visible, visible_json, visible_lines
from tasks.core.errors import SuiteError
from tasks.core.plan import Plan, render
from tasks.core.redact import Redactor

if TYPE_CHECKING:
    from rich.console import Console as RichConsole


WIDTH = 80
"""The columns of a terminal that nobody has made wider."""

VERBOSE = "MAUTIC_MULTIDEV_VERBOSE"
"""The variable that lets a pipe have every line of a run as it comes, if it is not empty."""

_GAP = "  "


class Activity:
    """Reports the progress of one piece of work."""

    def __init__(
        self,
        say: Callable[[str], None],
        line: Callable[[str], None],
        panel: Callable[[Sequence[str]], None] | None = None,
        *,
        detail: Callable[[str], None] | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.say = say
        """Report what has to be known, e.g. ``nginx: kept as it is``; it stays on the screen."""
        self.note = note or say
        """Report a step that went well; it stays on a terminal, and a pipe keeps it to itself."""
        self.line = line
        """Pass on a line of a program's output; a pipe shows it if the work fails."""
        self.detail = detail or line
        """Pass on one that tells only who watches that the work goes on; a pipe is spared it."""
        self.panel = panel
        """Replace the lines shown live; None without a terminal."""
        self.outcome = ""
        """The result of the finished work, shown with its seconds."""


Work = Callable[[str], contextlib.AbstractContextManager[Activity]]
"""Shows a piece of work with its title while it runs: ``Console.work``."""


class Console:
    """Prints a run's messages and data, without secrets and without characters that act.

    Args:
        redactor: masks secrets in everything shown.
        stdout: for data; the process's own by default.
        stderr: for messages; the process's own by default.
        environ: determines the mode: GITLAB_CI, NO_COLOR, TERM and ``VERBOSE``; and what ./inv was
            called by.
    """

    def __init__(
        self,
        redactor: Redactor,
        *,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        self.redactor = redactor
        self._out = stdout or sys.stdout
        self._err = stderr or sys.stderr
        self._program = environ.get(PROGRAM, "")
        self._gitlab = environ.get("GITLAB_CI") == "true"
        is_terminal = self._err.isatty()
        self.live = is_terminal and environ.get("TERM") != "dumb" and not self._gitlab
        self.brief = not (is_terminal or self._gitlab or environ.get(VERBOSE))
        """Whether only the end of work that goes well is printed."""
        self._colour = self._gitlab or (self.live and "NO_COLOR" not in environ)
        self._rich: RichConsole | None = None
        self._sections = 0
        self.timings: list[tuple[str, float]] = []
        """Titles and seconds of finished work, successful or not, in order."""

    # -- data ---------------------------------------------------------------------------------

    def data(self, text: str, *, colour: str = "") -> None:
        """Print data to stdout.

        Args:
            text: one or more lines.
            colour: parameters of the escape sequence that colours it, e.g. ``31;1``.
        """
        for line in text.split("\n"):
            shown = self._shown(line)
            print(f"\x1b[{colour}m{shown}\x1b[0m" if colour else shown, file=self._out)
        self._out.flush()

    def json(self, value: Any) -> None:
        """Print a value to stdout as JSON."""
        text = self.redactor(json.dumps(value, indent=2, ensure_ascii=False))
        print(visible_json(text), file=self._out, flush=True)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, below: bool = False
    ) -> None:
        """Print rows to stdout in columns as wide as their widest value.

        The text is the same on a terminal and in a pipe, and never truncated.

        Args:
            columns: their headings.
            rows: as many values in each.
            below: where a row takes more than 80 columns, its last value goes on the next line.
        """
        lines = [[self._shown(cell) for cell in row] for row in (columns, *rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        is_below = below and sum(widths) + len(_GAP) * (len(widths) - 1) > WIDTH
        for line in lines:
            padded = [f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)]
            parts = [_GAP.join(padded[:-1]), _GAP + line[-1]] if is_below else [_GAP.join(padded)]
            print("\n".join(part.rstrip() for part in parts if part.strip()), file=self._out)
        self._out.flush()

    def plan(self, plan: Plan, *, as_json: bool = False) -> None:
        """Print a plan to stdout: the output of a dry run."""
        if as_json:
            self.json(plan.as_dict())
        else:
            for line in render(plan):
                self.data(visible(line))

    # -- messages -----------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Print a message; its commands as they can be typed."""
        self._message(as_typed(text, self._program))

    def success(self, text: str) -> None:
        """Print a message of success; its commands as they can be typed."""
        self._message(as_typed(text, self._program), "32", mark="✓ ")

    def warn(self, text: str) -> None:
        """Print a warning, its commands as they can be typed; the run goes on."""
        self._message(as_typed(text, self._program), "33", mark="! ")

    def error(self, error: SuiteError) -> None:
        """Print the error that ends the run; its hint names commands as they can be typed."""
        first, *rest = error.lines()
        self._message(first, "31;1", mark="error: ")
        for line in rest:  # a program's output among them
            is_hint = line.startswith("  hint: ")
            self._message(as_typed(line, self._program) if is_hint else plain(line))

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        """Show a piece of work while it runs, and how long it took.

        On a terminal the work's last line is shown live below its title; a pipe gets the lines only
        of work that fails; in a GitLab job they form a collapsible section.

        Args:
            title: e.g. ``build images``.

        Yields:
            The activity, to report changes and a program's output to.
        """
        title = self._shown(title)
        started = time.monotonic()
        try:
            with self._shown_while(title) as activity:
                yield activity
        finally:
            seconds = time.monotonic() - started
            self.timings.append((title, seconds))
        outcome = f": {activity.outcome}" if activity.outcome else ""
        self.success(f"{title}{outcome} ({seconds:.1f} s)")

    # -- internals ----------------------------------------------------------------------------

    def _shown_while(self, title: str) -> contextlib.AbstractContextManager[Activity]:
        if self.live:
            return self._live(title)
        return self._piped(title) if self.brief else self._section(title)

    def _shown(self, text: str) -> str:
        """Return a line without secrets and without characters that act."""
        # Masked again, because a secret may have been hidden by what is no longer in it.
        return self.redactor(visible(self.redactor(text)))

    def _message(self, text: str, colour: str = "", *, mark: str = "") -> None:
        lines = visible_lines(mark + self.redactor(text))
        text = "\n".join(map(self.redactor, lines))
        if self._colour and colour:
            text = f"\x1b[{colour}m{text}\x1b[0m"
        # At once, since threads that print at the same time come in between otherwise.
        self._err.write(f"{text}\n")
        self._err.flush()

    @contextlib.contextmanager
    def _piped(self, title: str) -> Iterator[Activity]:
        piped = PipedWork(title, self._message)

        def keep(text: str) -> None:
            # Masked here, since a sign of life may cut a secret in two.
            piped.keep(self.redactor(plain(text)))

        with piped.running():
            yield Activity(
                lambda text: piped.say(plain(text)), keep, detail=lambda _: None, note=keep
            )

    @contextlib.contextmanager
    def _section(self, title: str) -> Iterator[Activity]:
        self._sections += 1
        # https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections
        name = f"inv_{os.getpid()}_{self._sections}"
        if self._gitlab:
            self._marker(f"section_start:{int(time.time())}:{name}[collapsed=true]", f"{title} …")
        else:
            self._message(f"{title} …")

        def line(text: str) -> None:
            if text.strip():
                self._message(f"  {plain(text)}")

        try:
            yield Activity(line, line)
        finally:
            if self._gitlab:
                self._marker(f"section_end:{int(time.time())}:{name}", "")

    def _marker(self, marker: str, text: str) -> None:
        print(f"\x1b[0K{marker}\r\x1b[0K{text}", file=self._err, flush=True)

    @contextlib.contextmanager
    def _live(self, title: str) -> Iterator[Activity]:
        from rich.console import Console as RichConsole
        from rich.live import Live
        from rich.markup import escape
        from rich.spinner import Spinner
        from rich.table import Table

        if self._rich is None:
            self._rich = RichConsole(file=self._err, highlight=False)
        rich = self._rich
        started = time.monotonic()
        last = [""]
        shown: list[str] = []
        spinner = Spinner("dots")

        def show() -> Table:
            grid = Table.grid(padding=(0, 1))
            grid.add_column(no_wrap=True)
            grid.add_column(no_wrap=True, overflow="ellipsis", max_width=max(20, rich.width - 4))
            grid.add_row(spinner, f"{escape(title)} {time.monotonic() - started:.0f} s")
            for text in tuple(shown):
                grid.add_row("", escape(text))
            grid.add_row("", f"[dim]{escape(last[0])}[/dim]")
            return grid

        lock = threading.Lock()

        def say(text: str) -> None:
            with lock:
                rich.print(f"  {escape(self._shown(plain(text)))}")

        def line(text: str) -> None:
            text = self._shown(plain(text)).strip()
            if text:
                with lock:
                    last[0] = text

        def panel(lines: Sequence[str]) -> None:
            shown[:] = [self._shown(plain(text)) for text in lines]

        with Live(get_renderable=show, console=rich, refresh_per_second=8, transient=True):
            yield Activity(say, line, panel)
