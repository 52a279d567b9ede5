"""Makes text safe to show: whatever the suite prints has been through this module.

Annotations, events, logs, image names, commit subjects and branch names are written by whoever may
push a branch. In a terminal, control characters move the cursor and rewrite what stands there,
and bidirectional ones reorder it; in a GitLab job they open and close sections: a section's marker
needs a carriage return and an escape sequence behind it
(https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections).
"""

from __future__ import annotations

import json
import re
import shlex
import unicodedata
from collections.abc import Callable

_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # a control sequence: colours, cursor, erasing
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # a string
    r"|\x1b[ -/]*[0-~]"  # any other sequence
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # a control character
)

_ACTIVE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of characters that act and are not seen: controls, formats (bidirectional
ones among them), halves of surrogate pairs, separators of lines and paragraphs."""


def is_active(character: str) -> bool:
    """Return True if a character does something instead of being seen."""
    return unicodedata.category(character) in _ACTIVE


def plain(text: str) -> str:
    """Return a line of a program's output without escape sequences and control characters."""
    return _ESCAPES.sub("", text)


def visible(text: str) -> str:
    r"""Return text as one line, in which every character is seen, e.g. ``\x1b`` or ``\u202e``.

    Tabs are kept.
    """
    return _escaped(text, lambda found: found.encode("unicode_escape").decode())


def visible_lines(text: str) -> list[str]:
    """Return text as lines in which every character is seen.

    All but the first are indented, so that no text from outside can start a line of its own.
    """
    first, *rest = text.replace("\r\n", "\n").split("\n")
    return [visible(first), *(visible(x if x[:1] in {"", " "} else f"  {x}") for x in rest)]


PROGRAM = "MAUTIC_MULTIDEV_INV"
"""The variable with what ./inv was called by."""

_COMMAND = re.compile(r"(?<![\w./-])inv (?=[a-z-]|TASK )")


def as_typed(text: str, program: str) -> str:
    """Return text whose commands can be typed as they stand.

    Args:
        text: it calls the suite's program ``inv``.
        program: what it was called by, such as ``./inv``; empty for ``inv``.
    """
    return _COMMAND.sub(lambda _: f"{shlex.quote(program)} ", text) if program else text


def megabytes(count: int) -> str:
    """Return a number of bytes in millions, for a person."""
    return f"{count / 1e6:.1f} MB"


def readable(text: str) -> str:
    """Return a program's whole output: no escape sequences, every character seen."""
    return "\n".join(visible(plain(line)) for line in text.split("\n"))


def visible_json(text: str) -> str:
    """Return a JSON document that means the same, in which every character is seen."""
    return "\n".join(
        _escaped(line, lambda found: json.dumps(found)[1:-1]) for line in text.split("\n")
    )


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    if text.isprintable():
        return text
    return "".join(escape(x) if x != "\t" and is_active(x) else x for x in text)
