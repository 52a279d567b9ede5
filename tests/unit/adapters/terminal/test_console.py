"""What a run says: data to stdout, all else to stderr; in a pipe, in GitLab, on a terminal."""

from __future__ import annotations

import functools
import io
import json
import re
import textwrap
from dataclasses import dataclass
from typing import Any

import pytest

from tasks.adapters.terminal.console import VERBOSE, Console
from tasks.adapters.terminal.piped import BEAT_LENGTH, PipedWork
from tasks.core.display import is_active, plain
from tasks.core.errors import SuiteError
from tasks.core.plan import Step
from tasks.core.redact import MASK, Redactor
from tests.support.deploys import until

SECRET = "hunter2-and-more"


class Screen:
    """A console whose two streams are texts."""

    def __init__(self, **environ: str) -> None:
        redactor = Redactor()
        redactor.add(SECRET)
        self._out, self._err = io.StringIO(), io.StringIO()
        self.console = Console(redactor, stdout=self._out, stderr=self._err, environ=environ)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()


@dataclass(frozen=True)
class Example:
    title: str = "deploy main"
    steps: tuple[Step, ...] = (Step("create", "network", "is not there"),)

    def as_dict(self) -> dict[str, Any]:
        return {"title": self.title}


# -- data -----------------------------------------------------------------------------------------


def test_data_goes_to_stdout_alone() -> None:
    screen = Screen()
    screen.console.data("one")
    screen.console.json({"key": ["é", 1]})
    screen.console.table(("name", "url"), [("a", "http://a"), ("long-name", "")])
    screen.console.plan(Example())
    assert screen.err == ""
    assert screen.out == textwrap.dedent(
        """\
        one
        {
          "key": [
            "é",
            1
          ]
        }
        name       url
        a          http://a
        long-name
        deploy main:
          create  network  (is not there)
        """
    )


def test_a_plan_for_machines_is_json() -> None:
    screen = Screen()
    screen.console.plan(Example(), as_json=True)
    assert json.loads(screen.out) == {"title": "deploy main"}


def test_a_table_without_rows_is_its_heading() -> None:
    screen = Screen()
    screen.console.table(("branch", "url"), [])
    assert screen.out == "branch  url\n"


def test_a_last_column_for_which_there_is_no_room_goes_below() -> None:
    columns, url = ("branch", "owner", "url"), f"http://{'x' * 60}.localhost:8080"
    wide, narrow = Screen(), Screen()
    wide.console.table(columns, [("main", "root@vm", url), ("b", "-", "")], below=True)
    assert wide.out == f"branch  owner\n  url\nmain    root@vm\n  {url}\nb       -\n"
    narrow.console.table(columns, [("main", "root@vm", "http://m")], below=True)
    assert narrow.out == "branch  owner    url\nmain    root@vm  http://m\n"


def test_a_table_never_cuts_a_value() -> None:
    screen = Screen()
    screen.console.table(("name",), [("x" * 500,)])
    assert "x" * 500 in screen.out


# -- messages -------------------------------------------------------------------------------------


def test_messages_go_to_stderr_alone() -> None:
    screen = Screen()
    screen.console.say("said")
    screen.console.success("done")
    screen.console.warn("look")
    screen.console.error(SuiteError("it broke", command="prog", output="bad", hint="mend it"))
    assert screen.out == ""
    assert screen.err == (
        "said\n✓ done\n! look\nerror: it broke\n  command: prog\n  | bad\n  hint: mend it\n"
    )


def test_each_message_names_commands_as_they_can_be_typed() -> None:
    screen = Screen(MAUTIC_MULTIDEV_INV="./inv")
    screen.console.say("look: inv list")
    screen.console.success("asleep; inv wake wakes it")
    screen.console.warn("it still shows files: inv dev --stop")
    screen.console.error(SuiteError("none", output="inv x", hint="inv deploy"))
    assert screen.err == (
        "look: ./inv list\n✓ asleep; ./inv wake wakes it\n"
        "! it still shows files: ./inv dev --stop\nerror: none\n  | inv x\n  hint: ./inv deploy\n"
    )


@pytest.mark.parametrize("environ", [{VERBOSE: "1"}, {"GITLAB_CI": "true"}])
def test_a_secret_is_masked_wherever_it_is_said(environ: dict[str, str]) -> None:
    screen = Screen(**environ)
    console = screen.console
    console.data(SECRET)
    console.json({SECRET: SECRET})
    console.table((SECRET,), [(SECRET,)])
    console.plan(Example(title=SECRET, steps=(Step("create", SECRET, SECRET),)))
    for tell in (console.say, console.success, console.warn):
        tell(f"with {SECRET}")
    console.error(SuiteError(SECRET, command=SECRET, output=SECRET, hint=SECRET))
    with console.work(f"work {SECRET}") as activity:
        activity.say(SECRET)
        activity.line(f"line {SECRET}")
        activity.outcome = SECRET
    assert SECRET not in screen.out + screen.err
    assert screen.out.count(MASK) == 8
    assert screen.err.count(MASK) == 12


# -- work, in a pipe ------------------------------------------------------------------------------


def work_well(screen: Screen) -> None:
    with screen.console.work("build images") as activity:
        activity.note("nginx: pushed")
        activity.line("#5 DONE 0.1s")
        activity.line("   ")
        activity.outcome = "2 pushed"


END = r"✓ build images: 2 pushed \(\d+\.\d s\)"


def test_in_a_pipe_work_that_goes_well_is_one_line() -> None:
    screen = Screen()
    work_well(screen)
    (end,) = screen.err.splitlines()
    assert re.fullmatch(END, end)
    assert "\x1b" not in screen.err


def test_in_a_pipe_what_has_to_be_known_stands_below_the_title() -> None:
    screen = Screen()
    with screen.console.work("build images") as activity:
        activity.say("trying again")
        activity.line("#5 DONE 0.1s")
    assert screen.err.splitlines()[:-1] == ["build images …", "  trying again"]


def test_in_a_pipe_work_that_fails_shows_what_came_before() -> None:
    screen = Screen()
    with pytest.raises(SuiteError), screen.console.work("migrate") as activity:
        activity.line(f"\x1b[31mwith {SECRET}\x1b[0m")
        activity.note("one is done")
        activity.detail("#9 0.412 warming up")
        raise SuiteError("it broke")
    assert screen.err.splitlines() == ["migrate …", f"  with {MASK}", "  one is done"]


def test_a_pipe_has_every_line_on_request() -> None:
    screen = Screen(**{VERBOSE: "1"})
    work_well(screen)
    start, said, line, end = screen.err.splitlines()
    assert (start, said, line) == ("build images …", "  nginx: pushed", "  #5 DONE 0.1s")
    assert re.fullmatch(END, end)


def test_work_that_fails_does_not_claim_to_be_done() -> None:
    for environ in ({}, {"GITLAB_CI": "true"}):
        screen = Screen(**environ)
        with pytest.raises(SuiteError), screen.console.work("build images"):
            raise SuiteError("it broke")
        assert "✓" not in screen.err
        assert [title for title, _ in screen.console.timings] == ["build images"]


def test_finished_work_is_kept_with_its_seconds() -> None:
    screen = Screen()
    for title in ("one", "two"):
        with screen.console.work(title):
            pass
    assert [title for title, _ in screen.console.timings] == ["one", "two"]
    assert all(seconds >= 0 for _, seconds in screen.console.timings)


# -- foreign output -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2K\x1b[1Gprogress", "progress"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\rb\x08c\x00d\x7fe", "abcde"),
        ("\x1b[?25lhidden\x1b[?25h", "hidden"),
        ("\x1b(Btext", "text"),
        ("\x1bctext", "text"),
        ("\x9b31mred", "red"),
        ("\x1bP1;2|data\x1b\\text", "text"),
        ("\x1b]0;never ended", "0;never ended"),
        ("ends with \x1b", "ends with "),
        ("tab\tand é 分", "tab\tand é 分"),
    ],
)
def test_control_characters_of_foreign_output_do_nothing(text: str, shown: str) -> None:
    assert plain(text) == shown
    screen = Screen(**{VERBOSE: "1"})
    with screen.console.work("work") as activity:
        activity.line(f"x{text}")
        activity.say(f"y{text}")
    assert f"  x{shown}\n  y{shown}\n" in screen.err


def test_foreign_output_cannot_open_a_section_in_gitlab() -> None:
    screen = Screen(GITLAB_CI="true")
    with screen.console.work("work") as activity:
        activity.line("\x1b[0Ksection_start:1:evil\r\x1b[0KEvil")
    assert screen.err.count("\x1b[0Ksection_start:") == 1


def test_control_characters_in_an_error_s_output_do_nothing() -> None:
    screen = Screen()
    screen.console.error(SuiteError("it broke", output="\x1b[2Jgone\x07"))
    assert "  | gone\n" in screen.err
    assert "\x1b" not in screen.err


EVIL = "x\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202eb\u2066\x08\x7f"
SECTION = re.compile(r"section_(start|end):(\d+):([a-zA-Z0-9_.-]+)(\[[^\]]*\])?\r\x1b\[0K")
"""What GitLab takes for a section (Gitlab::Regex.build_trace_section_regex)."""


def say_everywhere(console: Console, text: str) -> None:
    """Let a text come out of everything that a console has."""
    console.data(text)
    console.json({text: [text]})
    console.table((text,), [(text,)])
    console.plan(Example(title=text, steps=(Step("create", text, text),)))
    for tell in (console.say, console.success, console.warn):
        tell(text)
    console.error(SuiteError(text, command=text, output=text, hint=text))
    with console.work(text) as activity:
        activity.say(text)
        activity.line(text)
        activity.outcome = text


def test_nothing_that_others_wrote_acts_on_a_terminal() -> None:
    screen = Screen(**{VERBOSE: "1"})
    say_everywhere(screen.console, EVIL)
    assert not any(is_active(x) for x in screen.out + screen.err if x != "\n")


def test_nothing_that_others_wrote_opens_or_closes_a_section_in_gitlab() -> None:
    screen = Screen(GITLAB_CI="true")
    marker = (
        "\x1b[0Ksection_end:1:inv_1_1\r\x1b[0Ksection_start:1:evil[collapsed=true]\r\x1b[0KEvil"
    )
    say_everywhere(screen.console, marker)
    say_everywhere(screen.console, marker.replace("\x1b[", "\x9b"))
    found = SECTION.findall(screen.out + screen.err)
    assert [kind for kind, *_ in found] == ["start", "end"] * 2
    assert all(name.startswith("inv_") and name != "inv_1_1" for _, _, name, _ in found)


def test_no_message_from_outside_looks_like_one_of_the_suite() -> None:
    screen = Screen()
    text = "oops\n✓ deploy: done\nerror: another"
    for tell in (screen.console.say, screen.console.warn):
        tell(text)
    screen.console.error(SuiteError(text, hint=text))
    screen.console.table(("a",), [(text,)])
    starts = [line for line in screen.err.splitlines() if not line.startswith(" ")]
    assert starts == ["oops", "! oops", "error: oops"]
    assert len(screen.out.splitlines()) == 2


def test_json_keeps_its_meaning() -> None:
    screen = Screen()
    screen.console.json([EVIL, "é"])
    assert json.loads(screen.out) == [EVIL, "é"]
    assert "é" in screen.out


@pytest.mark.parametrize("hidden", ["hunter2\x1b[0m-and-more", "hunter2\x08-and-more"])
def test_a_secret_that_is_hidden_among_escape_sequences_is_masked(hidden: str) -> None:
    screen = Screen(**{VERBOSE: "1"})
    with screen.console.work("work") as activity:
        activity.line(hidden)
        activity.say(hidden)
    screen.console.error(SuiteError("it broke", output=hidden))
    assert SECRET not in screen.err
    assert screen.err.count(MASK) == 3


# -- work, in GitLab ------------------------------------------------------------------------------


def test_in_gitlab_work_is_a_section() -> None:
    screen = Screen(GITLAB_CI="true")
    with screen.console.work("build images") as activity:
        activity.line("#5 DONE")
    starts = re.findall(
        r"\x1b\[0Ksection_start:\d+:([\w.-]+)\[collapsed=true\]\r\x1b\[0K([^\n]*)\n", screen.err
    )
    ends = re.findall(r"\x1b\[0Ksection_end:\d+:([\w.-]+)\r\x1b\[0K\n", screen.err)
    assert [title for _, title in starts] == ["build images …"]
    assert [name for name, _ in starts] == ends
    assert screen.err.index("#5 DONE") < screen.err.index("section_end")


def test_a_section_is_closed_after_a_failure_and_each_has_its_own_name() -> None:
    screen = Screen(GITLAB_CI="true")
    with pytest.raises(SuiteError), screen.console.work("one"):
        raise SuiteError("it broke")
    with screen.console.work("two"):
        pass
    names = re.findall(r"section_start:\d+:([\w.-]+)", screen.err)
    assert names == re.findall(r"section_end:\d+:([\w.-]+)", screen.err)
    assert len(set(names)) == 2


def test_gitlab_shows_colours() -> None:
    screen = Screen(GITLAB_CI="true")
    screen.console.warn("look")
    assert screen.err == "\x1b[33m! look\x1b[0m\n"


# -- work, on a terminal of 80 columns ------------------------------------------------------------


@pytest.mark.parametrize("environ", [{VERBOSE: "1"}, {"GITLAB_CI": "true"}])
def test_a_job_and_who_asks_for_it_have_every_detail(environ: dict[str, str]) -> None:
    screen = Screen(**environ)
    with screen.console.work("build") as activity:
        activity.detail("#9 0.412 warming up")
        activity.line("mautic 9/10")
    assert "mautic 9/10" in screen.err
    assert "warming up" in screen.err


def test_a_sign_of_life_hides_a_secret_that_it_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = functools.partial(PipedWork, beat_seconds=0.01)
    monkeypatch.setattr("tasks.adapters.terminal.console.PipedWork", quick)
    screen = Screen()
    with screen.console.work("wait") as activity:
        activity.note(f"{'x' * (BEAT_LENGTH - 5)}{SECRET}")
        until(lambda: "s: x" in screen.err)
    assert SECRET[:5] not in screen.err
