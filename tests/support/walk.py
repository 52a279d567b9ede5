"""Runs the commands of the documents, page by page, as somebody does who follows them."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import CompletedProcess, Popen

from tests.support.documents import Command
from tests.support.suite import git

Place = tuple[str, str]
"""A page, and a command on it (`Command.key`)."""
Step = str | Callable[[], object]
"""A command line, or what no command does."""
WAIT_SECONDS = 300.0


@dataclass
class Walk:
    """A way through pages.

    Attributes:
        checkout: where everything is run.
        run: runs `inv` to its end.
        start: starts `inv`.
        before: what a command takes for granted when its page comes to it.
        endless: commands that go on until Ctrl-C, and what they say once they are there.
        codes: exit codes other than 0, by command.
        names: what stands here for a name of the pages.
        says: what stands in the pages for what is said here.
    """

    checkout: Path
    run: Callable[..., CompletedProcess[str]]
    start: Callable[..., Popen[str]]
    before: Mapping[Place, Sequence[Step]] = field(default_factory=dict)
    endless: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[Place, int] = field(default_factory=dict)
    names: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    prepared: set[Place] = field(default_factory=set)

    def follow(self, commands: Sequence[Command]) -> None:
        """Run a page's commands in their order; each must end, and print, as the page says."""
        known = {(each.page, each.key) for each in commands}
        pages = {page for page, _ in known}
        gone = {place for place in (*self.before, *self.codes) if place[0] in pages} - known
        assert not gone, f"they are on their pages no more: {gone}"
        for command in commands:
            place = (command.page, command.key)
            if place not in self.prepared:
                self.prepared.add(place)
                for step in self.before.get(place, ()):
                    if isinstance(step, str):
                        self._do(Command(command.page, step))
                    else:
                        step()
            self._do(command)

    def _do(self, command: Command) -> None:
        line = command.line
        for name, find in self.names.items():
            if name in line:
                line = line.replace(name, find())
        program, *words = replace(command, line=line).words
        if program == "git":
            git(self.checkout, *words)
        elif command.line in self.endless:
            self._until_there(words, self.endless[command.line])
        else:
            done = self.run(*words)
            said = f"{command.page}: {shlex.join(['inv', *words])}: {done.returncode}\n"
            assert done.returncode == self.codes.get((command.page, command.key), 0), (
                said + done.stdout + done.stderr
            )
            if command.output is not None:
                out, err = self._said(done.stdout), self._said(done.stderr)
                differs = command.differs(out, err)
                assert not differs, f"{command.page}: {command.line}\n{differs}"

    def _said(self, text: str) -> str:
        for own, theirs in self.says.items():
            text = text.replace(own, theirs)
        return text

    def _until_there(self, words: Sequence[str], text: str) -> None:
        """Run a command until it has said something; then press Ctrl-C."""
        process = self.start(*words)
        there = threading.Event()
        said: list[str] = []

        def read(stream: object) -> None:
            for line in stream:  # type: ignore[attr-defined]
                said.append(line)
                if text in line:
                    there.set()

        readers = [
            threading.Thread(target=read, args=[each], daemon=True)
            for each in (process.stdout, process.stderr)
        ]
        for each in readers:
            each.start()
        came = there.wait(WAIT_SECONDS)
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=WAIT_SECONDS)
        for each in readers:
            each.join(timeout=WAIT_SECONDS)
        assert came, f"inv {shlex.join(words)} never said {text!r}:\n{''.join(said)}"
        assert code in {0, 128 + signal.SIGINT}, "".join(said)
