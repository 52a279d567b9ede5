"""What the documents show: commands, and what these print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from typing import Literal

from tests.support.suite import ROOT

PAGES = ("README.md", *(f"docs/{each.name}" for each in sorted((ROOT / "docs").glob("*.md"))))

ELSEWHERE = {
    "./inv test": "it would run these tests",
    "./inv demo": "tests/e2e/test_demo.py",
    "./inv upgrade": "tests/integration/test_package.py, in a repository that has the package",
    "mautic-multidev init": "tests/integration/test_package.py",
    "/tmp/suite/bin/mautic-multidev": "tests/integration/test_package.py",
    "python3 -m venv": "tests/integration/test_package.py",
    "pip wheel": "tests/integration/test_package.py",
    "./inv ci.image": "tests/integration/test_gitlab.py; it takes minutes",
    "./inv ci.local": "tests/integration/test_gitlab.py, in that image",
    "npm install": "it would change this machine: package-lock.json has the same",
    "sudo": "it would change this machine",
    "git clone": "every test has a copy of this checkout",
    "git add": "a test's own commits, in tests/support/suite.py",
    "export": "variables are given to each run",
    "terraform": "a person's last resort, on a state that is broken",
    "aws": "of AWS there is moto alone, which does not do this",
    "curl": "AWS' price lists; tests/support/price_lists.py has parts of them",
    "kubectl": "there is no kubectl here; the suite needs none",
    "helm": "tests/integration/test_chart.py; Helm without the suite",
    "web=": "there is no kubectl here",
    "mysql=": "there is no kubectl here",
}
"""Commands that are not run as they are shown, by how they begin, and why."""

Place = Literal["machine", "cluster", "stack", "elsewhere"]

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"\s+#\s.*$")
_QUIET = " 2>/dev/null"
_TAIL = re.compile(r" 2>&1 \| tail -(\d+)$")


@dataclass(frozen=True)
class Command:
    """A command that a page shows.

    Attributes:
        page: the page.
        line: the command, without its prompt and comment.
        output: what the page shows of its output; None where it shows nothing.
    """

    page: str
    line: str
    output: str | None = None

    @property
    def words(self) -> list[str]:
        """What is run: its words without what only shortens the output."""
        return shlex.split(_TAIL.sub("", self.line).removesuffix(_QUIET))

    @property
    def key(self) -> str:
        """What names it on its page: with its prompt, if its output is shown."""
        return self.line if self.output is None else f"$ {self.line}"

    @property
    def place(self) -> Place:
        """Where it is run."""
        if self.elsewhere:
            return "elsewhere"
        words = set(self.words)
        if "--stack" in words:
            return "stack"
        # A rehearsal needs data, and seeds are of a Mautic that runs: this machine has both.
        if words & {"rehearse", "prod"}:
            return "machine"
        in_aws = self.page == "docs/aws.md"
        return "cluster" if in_aws or words & {"--env", "--plan"} else "machine"

    @property
    def elsewhere(self) -> str:
        """Why it is not run as it is shown; empty if it is."""
        return next((why for how, why in ELSEWHERE.items() if self.line.startswith(how)), "")

    def differs(self, out: str, err: str) -> str:
        """Compare what is shown of its output with what it prints; return the difference.

        A program's messages are compared as if they came before its data.
        """
        printed = plain(out if self.line.endswith(_QUIET) else err + out)
        if tail := _TAIL.search(self.line):
            printed = printed[-int(tail[1]) :]
        shown = plain(self.output or "")
        for number, line in enumerate(shown[: len(printed)]):
            # `…` is any text.
            if re.fullmatch(".*".join(map(re.escape, line.split("…"))), printed[number]):
                printed[number] = line
        return "\n".join(unified_diff(shown, printed, "shown", "printed", lineterm=""))


def commands(page: str, text: str) -> Iterator[Command]:
    """Yield the commands in a page's fenced blocks, in their order.

    Raises:
        ValueError: a block says neither its language nor, by a prompt, that it is a transcript.
    """
    for indent, language, block in _BLOCK.findall(text):
        lines = block.replace("\\\n", "").splitlines()
        lines = [line.removeprefix(indent) for line in lines]
        if not language:
            yield from _transcript(page, lines)
        elif language in {"sh", "bash"}:
            yield from (Command(page, _COMMENT.sub("", line)) for line in lines if line)


def _transcript(page: str, lines: Sequence[str]) -> Iterator[Command]:
    if not lines[0].startswith("$ "):
        raise ValueError(f"{page}: of which command is this the output? {lines[0]}")
    begins = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True):
        output = "".join(f"{line}\n" for line in lines[begin + 1 : end])
        yield Command(page, lines[begin].removeprefix("$ "), output or None)


def documented(place: Place, *first: str) -> dict[str, list[Command]]:
    """Return the commands that are run in a place, by page.

    Args:
        place: the place.
        first: the pages that others build on.
    """
    pages = {page: list(commands(page, (ROOT / page).read_text())) for page in PAGES}
    found = {
        page: [each for each in pages[page] if each.place == place] for page in (*first, *PAGES)
    }
    return {page: each for page, each in found.items() if each}


_PLAIN = (
    (r"\b(?:[0-9a-f]{8}|[0-9a-f]{12}|[0-9a-f]{64})\b", "HEX"),
    (r"\b\d+\.\d s\b|\d+\.\d$", "SECONDS"),
    (r"localhost:\d+", "localhost:PORT"),
    (r"\b\w+@(?!HEX|sha256)[\w.-]+", "USER@HOST"),
    (r"\b\d+[smhd]\b", "SPAN"),
    (r"\d{8}T\d{6}Z", "TIME"),
    (r"\b(?:\d+ of )?\d+ (pod|node)s?\b", r"NUMBER \1s"),
    (r"\b[\d.]+ GiB left$", "SIZE left"),
    (r" {2,}", "  "),
)
"""What differs from run to run by its nature: digests and commits, times, ports, people."""


def plain(text: str) -> list[str]:
    """Return the lines of an output without what differs from run to run."""
    for pattern, word in _PLAIN:
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text.splitlines()
