"""Ignore files (.dockerignore), read as the builder reads them.

The rules are those of github.com/moby/patternmatcher, which BuildKit's client applies: the last
pattern that matches a path, or one of the folders above it, decides; and a pattern is not even
looked at where it could not change what those before it have decided. The tests compare the result
with a real builder's.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from tasks.core.errors import InputError

_WILD = re.compile(r"[]*?\[\\]")

_UNPORTABLE = re.compile(r"\\[0-9A-Za-z]|\[\^?\]|\[[^]]*[\[*?]|\\\Z")
"""Syntax that Go's regular expressions, which the builder uses, interpret differently."""


@dataclass(frozen=True)
class _Pattern:
    text: str
    is_exception: bool
    matches: Callable[[str], bool]


@dataclass
class IgnoreFile:
    """The patterns of files that are not sent to a builder.

    Args:
        text: the file's text; an empty one leaves nothing out.
    """

    text: str
    _patterns: tuple[_Pattern, ...] = field(init=False, repr=False)
    _results: dict[str, tuple[bool, tuple[bool, ...]]] = field(
        init=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        """Read the patterns.

        Raises:
            InputError: the builder would not accept one.
        """
        lines = self.text.removeprefix("\N{BYTE ORDER MARK}").split("\n")
        self._patterns = tuple(
            _parse(line.strip()) for line in lines if line.strip() and not line.startswith("#")
        )

    def leaves_out(self, path: str) -> bool:
        """Return True if a path is not sent to the builder.

        Args:
            path: relative to the folder, with ``/``.
        """
        return self._result(path)[0]

    def prunes(self, folder: str) -> bool:
        """Return True if nothing below a folder is sent to the builder."""
        if not self.leaves_out(folder):
            return False
        exceptions = [pattern.text for pattern in self._patterns if pattern.is_exception]
        return not any(
            _WILD.search(text) or f"{text}/".startswith(f"{folder}/") for text in exceptions
        )

    def _result(self, path: str) -> tuple[bool, tuple[bool, ...]]:
        """Return whether a path is left out, and which patterns match it or a folder above it."""
        if path not in self._results:
            above = posixpath.dirname(path)
            inherited = self._result(above)[1] if above else ()
            left_out = False
            matched = []
            for number, pattern in enumerate(self._patterns):
                is_match = bool(inherited) and inherited[number]
                if not is_match and pattern.is_exception == left_out:
                    is_match = pattern.matches(path)
                matched.append(is_match)
                if is_match:
                    left_out = not pattern.is_exception
            self._results[path] = left_out, tuple(matched)
        return self._results[path]


def _parse(line: str) -> _Pattern:
    is_exception = line.startswith("!")
    text = line.removeprefix("!").strip()
    is_usable = bool(text) and not _UNPORTABLE.search(text)
    # Go's filepath.Clean; Python's would keep two slashes at the start.
    text = posixpath.normpath(re.sub("^//+", "/", text)).removeprefix("/") or "/"
    # An exception above the folder makes the builder leave out everything, if it has wildcards.
    is_outside = text == ".." or text.startswith("../")
    if not is_usable or (is_exception and (text == "/" or is_outside)):
        raise InputError(f"the pattern {line!r} of an ignore file cannot be used")
    return _Pattern(text, is_exception, _matcher(line, text))


def _matcher(line: str, text: str) -> Callable[[str], bool]:
    """Return a function that tells whether a path matches a cleaned pattern."""
    if not _WILD.search(text):
        return lambda path: path == text
    if text.startswith("**") and not _WILD.search(text[2:]):
        end = text[2:]
        return lambda path: path.endswith(end) or path == end.removeprefix("/")
    if text.endswith("**") and not _WILD.search(text[:-2]):
        return lambda path: path.startswith(text[:-2])
    try:
        regex = re.compile(_regex(text))
    except re.error as error:
        raise InputError(f"the pattern {line!r} of an ignore file cannot be used") from error
    return lambda path: regex.fullmatch(path) is not None


_MEANINGS = {"**": "(.*/)?", "**/": "(.*/)?", "*": "[^/]*", "?": "[^/]"}


def _regex(text: str) -> str:
    """Return the regular expression that the builder uses for a pattern."""
    start, rest = (text[:-2], ".*") if text.endswith("**") else (text, "")
    parts = re.findall(r"\*\*/?|\\.|.", start, re.DOTALL)
    escaped = (f"\\{part}" if part in ".+()|{}$" else part for part in parts)
    return "".join(_MEANINGS.get(part, part) for part in escaped) + rest
