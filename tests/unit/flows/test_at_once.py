"""What is told of work on several environments at the same time."""

from __future__ import annotations

import pytest

from tasks.adapters.terminal.console import Activity
from tasks.core.errors import SuiteError
from tasks.flows.at_once import PrefixedConsole, run_on_each
from tests.support.fakes import a_console


@pytest.mark.parametrize("verbose", [True, False])
def test_what_has_to_be_known_is_told_with_its_branch(verbose: bool) -> None:
    console, stream = a_console(verbose=verbose)

    def remove(activity: Activity) -> str:
        with PrefixedConsole("one", activity).work("remove") as step:
            step.say("kept namespace n: it is somebody else's")
            step.note("removed the release")
            step.line("a line of Helm's")
        return "2 objects removed"

    run_on_each([("one", remove)], 1, console, title="clean up", done="removed", outcome="removed")
    said = stream.getvalue()
    assert "  one: kept namespace n: it is somebody else's\n  " in said
    assert "  one: 2 objects removed\n" in said
    assert ("one: removed the release" in said) == ("one: a line of Helm's" in said) == verbose


def test_one_that_fails_does_not_keep_the_others() -> None:
    console, stream = a_console(verbose=False)

    def fail(_: Activity) -> str:
        raise SuiteError("it broke", hint="mend it")

    with pytest.raises(SuiteError, match="1 of 2 environments could not be removed: one"):
        run_on_each(
            [("one", fail), ("two", lambda _: "gone")],
            *(1, console),
            **{"title": "clean up", "done": "removed", "outcome": "removed"},
        )
    assert "  two: gone\n" in stream.getvalue()
    assert "one: it broke" in stream.getvalue()
