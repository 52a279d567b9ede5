"""What all tasks share: the decorator that turns errors into exit codes, and common options.

It is loaded with the commands, so it imports nothing that would slow down ``inv --list``.
"""

from __future__ import annotations

import functools
import inspect
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

import invoke
from invoke.exceptions import Exit

from tasks.app.early import INTERRUPTED
from tasks.core.errors import InputError, SuiteError

HELP = {
    "env": "environment of invoke.yaml (default: in CI the one the branch matches, else local)",
    "branch": "full branch name (default: the branch that is checked out)",
    "format": "text or json",
    "dry_run": "read only, and print the plan that a real run would execute",
}
"""Help of the options that mean the same in every task."""

NEW = "take a --branch that exists neither here nor on the remote"
"""Help of the option of what makes something under a branch's name."""

LETTERS = {
    "env": "e",
    "from_": "o",
    "no_build": "",
    "no_capacity_check": "",
    "out": "o",
    "branch": "b",
    "format": "f",
    "dry_run": "d",
    "new": "n",
    "tag": "t",
    "data": "a",
    "replace": "r",
    "values": "v",
    "yes": "y",
}
"""Letters of options that several tasks have, or none; no other option of such a task has them."""


class SharedLetters(invoke.Task[Any]):
    """A task whose options have the same letters as in every other task.

    invoke gives each the first letter that no option before it has.
    """

    @functools.cached_property
    def _shared(self) -> set[str]:
        options = inspect.signature(self.body).parameters
        return {letter for option, letter in LETTERS.items() if letter and option in options}

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return an option's settings for the parser."""
        found = super().arg_opts(name, default, taken_names | self._shared)
        if (letter := LETTERS.get(name)) is not None:
            found["names"] = [found["names"][0], *([letter] if letter else [])]
        return found


def task(*, help: dict[str, str] | None = None, **options: Any) -> Callable[[Any], Any]:
    """Return invoke's task decorator with the suite's errors and exit codes.

    Args:
        help: help of the task's own options; that of ``HELP`` is added.
        options: passed on to ``invoke.task``.
    """

    def decorate(body: Callable[..., None]) -> Any:
        @functools.wraps(body)
        def run(context: invoke.Context, *args: Any, **kwargs: Any) -> None:
            from tasks.app.session import Session

            session = Session(context)
            try:
                with session.answerable(sys.argv[1:]):
                    body(session, *args, **kwargs)
            except SuiteError as error:
                session.console.error(error)
                raise Exit(code=error.exit_code) from error
            except KeyboardInterrupt as interrupt:
                session.console.warn(INTERRUPTED)
                raise Exit(code=128 + getattr(interrupt, "signum", signal.SIGINT)) from interrupt

        names = set(body.__code__.co_varnames[: body.__code__.co_argcount])
        shared = {name: text for name, text in HELP.items() if name in names}
        return invoke.task(help={**shared, **(help or {})}, klass=SharedLetters, **options)(run)

    return decorate


def check_format(value: str) -> bool:
    """Return whether ``--format`` asks for JSON.

    Raises:
        InputError: neither text nor json.
    """
    if value not in {"text", "json"}:
        raise InputError(f"--format {value!r}: must be text or json")
    return value == "json"


def refuse_idle(why: str, options: Mapping[str, object]) -> None:
    """Refuse options that would be passed over, for another one is there or is not.

    Args:
        why: what the error says of them, such as ``is for --serve``.
        options: what each was given, by its name; nothing is what is false.

    Raises:
        InputError: one was given.
    """
    for option, given in options.items():
        if given:
            raise InputError(f"{option} {why}")


def whole_number(option: str, value: str) -> int:
    """Return the number that an option was given.

    Raises:
        InputError: it is not a whole number, or less than 0.
    """
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InputError(f"--{option} {value!r}: must be a whole number, 0 or more")
    return int(value)


def forwarded_command(argv: list[str], command: str = "") -> list[str]:
    """Return the command that a task forwards: the words after `--`, or those of an option.

    Args:
        argv: the whole command line; invoke joins the words after `--` into one string, which
            cannot be split again reliably.
        command: the option's value.

    Raises:
        InputError: both were given, or the option's quotes do not match.
    """
    after = argv[argv.index("--") + 1 :] if "--" in argv else []
    if after and command:
        raise InputError("give the command after -- or with --command, not both")
    try:
        return after or shlex.split(command)
    except ValueError as error:
        raise InputError(f"--command {command!r}: {error}") from error
