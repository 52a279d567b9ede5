"""What a run shows on a terminal: live work, one line afterwards, and the cursor back."""

from __future__ import annotations

import io
import re
import sys
import textwrap

from tasks.adapters.terminal.console import Console
from tasks.core.redact import Redactor
from tests.support.suite import ROOT, Inv
from tests.support.terminal import Terminal

DUMB = {"TERM": "dumb"}
LIVE = """
    import time
    from tasks.adapters.terminal.console import Console
    from tasks.core.errors import SuiteError
    from tasks.core.redact import Redactor

    console = Console(Redactor())
    console.say("[bold]not markup[/bold]")
    with console.work("build [images]") as activity:
        activity.say("nginx: [pushed] " + "y" * 100)
        for number in range(8):
            activity.line(f"[red]step {number}[/red] " + "x" * 200 + "\\x1b[2J")
            time.sleep(0.15)
        activity.outcome = "2 pushed"
    console.data("data")
    try:
        with console.work("second"):
            raise SuiteError("it broke")
    except SuiteError as error:
        console.error(error)
"""


def live(inv: Inv, **environ: str) -> Terminal:
    argv = [sys.executable, "-c", textwrap.dedent(LIVE)]
    terminal = Terminal(argv, cwd=ROOT, env=inv.environ(environ))
    assert terminal.finish() == 0, terminal.text
    return terminal


def test_on_a_terminal_work_is_shown_live_and_leaves_one_line(inv: Inv) -> None:
    terminal = live(inv)
    drawn = [line.rstrip() for line in re.split(r"[\r\n]+", terminal.text)]
    live_lines = [line for line in drawn if "x" * 10 in line]
    assert live_lines, "the last line of the work is shown while it runs"
    assert max(len(line) for line in live_lines) <= 80
    assert any(re.search(r"build \[images\] \d+ s", line) for line in drawn)
    assert any(re.fullmatch(r"✓ build \[images\]: 2 pushed \(\d+\.\d s\)", line) for line in drawn)
    assert "[bold]not markup[/bold]" in drawn
    assert "[red]step" in terminal.text
    # Each frame is erased before what follows: nothing of the live lines stays.
    assert terminal.raw.count("\x1b[2K") >= 2
    assert "\x1b[2J" not in terminal.raw
    assert "error: it broke" in drawn
    assert not any(line.startswith("✓ second") for line in drawn)


def test_the_terminal_gets_its_cursor_back(inv: Inv) -> None:
    raw = live(inv).raw
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")


def test_no_color_means_no_colour(inv: Inv) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])(;[0-9]+)*m")
    assert colour.search(live(inv).raw)
    assert not colour.search(live(inv, NO_COLOR="1").raw)


def test_a_dumb_terminal_gets_plain_lines(inv: Inv) -> None:
    console = Console(Redactor(), stdout=io.StringIO(), stderr=io.StringIO(), environ=DUMB)
    assert not console.live
    argv = ["env", "TERM=dumb", sys.executable, "-c", textwrap.dedent(LIVE)]
    terminal = Terminal(argv, cwd=ROOT, env=inv.environ())
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.raw
