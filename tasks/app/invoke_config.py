"""The program that ./inv starts: invoke's own, with exit code 2 for a bad command line."""

from __future__ import annotations

import contextlib
import errno
import inspect
import os
import re
import select
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, TextIO

import invoke
from invoke import Argument, Parser, ParserContext, Program
from invoke.exceptions import Exit, ParseError, UnknownFileType
from invoke.loader import FilesystemLoader
from invoke.parser.context import to_flag
from invoke.terminals import pty_size

from tasks.app.completion import look_up, options_of
from tasks.app.overview import EXAMPLES, VERSION, nearest, overview, refused
from tasks.app.paths import IS_PACKAGE, PROJECT, ROOT
from tasks.app.yaml_file import read_yaml
from tasks.core.completion import candidates
from tasks.core.display import PROGRAM, as_typed, readable, visible


class SuiteConfig(invoke.Config):
    """invoke's configuration, with one-line errors for files that it cannot read.

    invoke merges only its own keys. ``Session.settings`` merges those of the suite: where types
    differ, invoke would end in a traceback.
    """

    def _load_yaml(self, path: Any) -> Any:
        return self._read(lambda name: read_yaml(Path(name)), path)

    _load_yml = _load_yaml

    def _load_json(self, path: Any) -> Any:
        return self._read(super()._load_json, path)

    def _load_py(self, path: Any) -> Any:
        return self._read(super()._load_py, path)

    def _read(self, load: Callable[[Any], Any], path: Any) -> dict[Any, Any]:
        try:
            data = load(path)
        except FileNotFoundError:
            raise  # invoke tries several names
        except Exception as error:
            # A user's file may have any content; errors in it are not bugs of the suite.
            reason = " ".join(str(error).split())
            raise Exit(visible(f"error: {path} cannot be read: {reason}"), code=2) from error
        if data is None:  # nothing but comments
            return {}
        if not isinstance(data, dict):
            raise Exit(visible(f"error: {path} must hold keys and values"), code=2)
        return data

    def load_runtime(self, merge: bool = True) -> None:
        """Load the file given with ``-f``, whose absence invoke would ignore."""
        try:
            super().load_runtime(merge)
        except UnknownFileType as error:
            raise Exit(visible(f"error: {error}"), code=2) from error
        if self._runtime_path is not None and not self._runtime_found:
            message = f"error: the file given with -f does not exist: {self._runtime_path}"
            raise Exit(visible(message), code=2)

    def _merge_file(self, name: str, desc: str) -> None:
        whole: dict[Any, Any] = getattr(self, f"_{name}")
        own = self.global_defaults()
        self._set(**{f"_{name}": {key: whole[key] for key in whole if key in own}})
        try:
            super()._merge_file(name, desc)
        except ValueError as error:
            message = f"error: {getattr(self, f'_{name}_path')}: {error}"
            raise Exit(visible(message), code=2) from error
        finally:
            self._set(**{f"_{name}": whole})


class _WholeNumber(Argument):
    """An option of invoke's own that takes a number, with an error that names it."""

    def set_value(self, value: Any, cast: bool = True) -> None:
        """Set the value as it was given."""
        try:
            super().set_value(value, cast)
        except ValueError as error:
            raise ParseError(f"--{self.name} {value!r}: must be a whole number") from error


class ProjectLoader(FilesystemLoader):
    """Takes the tasks from where the suite is installed, and the settings from the project."""

    def __init__(self, start: str | None = None, **kwargs: Any) -> None:
        super().__init__(start or str(ROOT), **kwargs)

    def load(self, name: str | None = None) -> tuple[ModuleType, str]:
        """Return the tasks, and the folder whose invoke.yaml is read."""
        return super().load(name)[0], str(PROJECT)


class Suite(Program):
    """invoke's program, except for the exit code of a bad command line (2 instead of 1)."""

    def core_args(self) -> list[Argument]:
        """Return invoke's own options."""
        return [
            _WholeNumber(names=one.names, kind=int, default=one.default, help=one.help)
            if one.kind is int
            else one
            for one in super().core_args()
        ]

    def parse_core(self, argv: list[str] | None) -> None:
        """Read invoke's own options, and `--help` right after a task.

        invoke itself would take that for the value of an argument that the task needs: `inv
        db.dump --help` would write a file of this name.
        """
        unwritten = sys.dont_write_bytecode
        with self._usage_errors():
            super().parse_core(argv)
        # invoke keeps no bytecode of what it imports from here on, unless told to: every run would
        # compile the suite's modules and their libraries anew, for longer than most tasks take.
        sys.dont_write_bytecode = unwritten
        task, *rest = self.core.unparsed or [""]
        if rest[:1] in (["--help"], ["-h"]):
            self.args.help.value = task
            self.core.unparsed.clear()

    def print_version(self) -> None:
        """Print the suite's version."""
        sys.stdout.write(f"mautic-multidev {VERSION}\n")

    def no_tasks_given(self) -> None:
        """Print the tasks by their jobs."""
        text, program = overview(is_package=IS_PACKAGE), os.environ.get(PROGRAM, "")
        if Path(program).is_absolute():
            text, program = f"{text}\n\n{Path(program).name} is {program}.", Path(program).name
        sys.stdout.write(f"{as_typed(text, program)}\n")
        raise Exit

    def print_task_help(self, name: str) -> None:
        """Print a task's help, in the terminal's width, and an example."""
        task = self.collection[name]
        width = pty_size()[0] - self.leading_indent_width - 1
        paragraphs = (inspect.getdoc(task) or "").split("\n\n")
        task.__doc__ = "\n\n".join(textwrap.fill(each, width) for each in paragraphs)
        super().print_task_help(name)
        if example := EXAMPLES.get(name):
            typed = as_typed(example, os.environ.get(PROGRAM, ""))
            sys.stdout.write(f"Example:\n{self.leading_indent}{typed}\n\n")

    def parse_collection(self) -> None:
        """Load the tasks and read ``--list`` and ``--help``."""
        with self._usage_errors():
            super().parse_collection()

    def parse_tasks(self) -> None:
        """Read the tasks' options."""
        with self._usage_errors():
            super().parse_tasks()

    def _make_parser(self) -> Parser:
        """Return the parser of the tasks that the command line may name; invoke copies each."""
        words = " ".join([*self.core.unparsed, str(self.args.help.value)])
        lenient = self.config.tasks.ignore_unknown_help
        return Parser(
            initial=self.initial_context,
            contexts=[
                ParserContext(
                    name=name,
                    aliases=aliases,
                    args=self.collection[name].get_arguments(ignore_unknown_help=lenient),
                )
                for name, aliases in self.collection.task_names.items()
                if any(each in words for each in (name, *aliases))
            ],
        )

    def parse_cleanup(self) -> None:
        """Answer ``--list`` and ``--help``."""
        with self._usage_errors():
            style = self.args["list-format"].value
            if style not in {"flat", "nested", "json"}:
                raise ParseError(f"--list-format {style!r}: must be flat, nested or json")
            if self.args.complete.value:
                self._complete()
            super().parse_cleanup()

    @contextlib.contextmanager
    def _usage_errors(self) -> Iterator[None]:
        """Exit with code 2 for invoke's errors about the command line."""
        try:
            yield
        except ParseError as error:
            raise Exit(visible(f"error: {_said(error)}") + self._near(error), code=2) from error
        except Exit as error:
            if error.code == 1:
                raise Exit(visible(f"error: {error.message}"), code=2) from error
            raise

    def _complete(self) -> None:
        """Print what may stand in the place of the last word of a command line."""
        from tasks.app.session import Session

        self.update_config()  # by -f
        session = Session(invoke.Context(self.config))
        unwanted = refused(is_package=IS_PACKAGE)
        options = options_of(super()._make_parser().contexts)
        found = candidates(
            self.core.remainder.split(" "),
            {task: known for task, known in options.items() if task not in unwanted},
            self.initial_context.flag_names(),
            lambda what, given: look_up(session, what, given),
        )
        sys.stdout.write("".join(f"{each}\n" for each in found))
        raise Exit

    def _near(self, error: ParseError) -> str:
        """Return a hint on what an unknown word was probably meant to be, or an empty string."""
        if lacking := _LACKING.fullmatch(str(error)):
            example = EXAMPLES.get(lacking[1])
            typed = as_typed(example or "", os.environ.get(PROGRAM, ""))
            return f"\n  hint: such as {typed}" if example else ""
        wrong = re.fullmatch(r"No idea what '(.*)' is!", str(error), re.DOTALL)
        if not wrong:
            return ""
        context = error.context
        if wrong[1].startswith("-"):
            near = nearest(wrong[1], (context or self.initial_context).flag_names())
        else:
            near = nearest(wrong[1], self.collection.task_names)
        return f"\n  hint: did you mean {near}?" if near else ""


_LACKING = re.compile(r"'(.+)' did not receive required positional arguments: (.+)")
_NO_VALUE = re.compile(r"Flag <Argument: (\S+).*> needed value and was not given one!")


def _said(error: ParseError) -> str:
    """Return what the parser complains of, by the options as they are typed."""
    said = str(error)
    if lacking := _LACKING.fullmatch(said):
        names = [name.strip("' ") for name in lacking[2].split(",")]
        return f"{lacking[1]} needs {', '.join(to_flag(name.strip('_')) for name in names)}"
    if bare := _NO_VALUE.fullmatch(said):
        return f"{to_flag(bare[1])} needs a value"
    return said


def main() -> None:
    """Run the command line.

    When the reader of a pipe has gone (``inv --list | head -1``), the run ends silently with the
    status of SIGPIPE, like other tools. Any other failure to write, and a full disk, is an error.
    """
    for name in ("stdout", "stderr"):  # may have been closed by the parent process
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    try:
        try:
            Suite(
                name="inv",
                binary="inv",
                binary_names=["inv"],
                config_class=SuiteConfig,
                loader_class=ProjectLoader if IS_PACKAGE else None,
            ).run()
        finally:
            sys.stdout.flush()
    except OSError as error:
        lost = [stream for stream in (sys.stdout, sys.stderr) if _is_unwritable(stream)]
        if not lost and error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        for stream in lost:  # otherwise Python flushes it at exit, and fails again
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + signal.SIGPIPE)
        what = "the output" if lost else error.filename or "a file"
        sys.stderr.write(f"error: {what} cannot be written: {error.strerror}\n")
        sys.exit(1)


def show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback of a bug, whose message may have come from anywhere."""
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(readable(text))


def _is_unwritable(stream: TextIO) -> bool:
    """Return True if a stream takes nothing more: a write fails, or its reader is gone.

    What was too long for the stream's buffer is dropped by the first failure, so the stream itself
    is asked as well.
    """
    try:
        stream.flush()
        os.write(stream.fileno(), b"")
    except OSError:
        return True
    reader = select.poll()
    reader.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in reader.poll(0))
