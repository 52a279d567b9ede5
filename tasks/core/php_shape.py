"""The shape of a PHP file: all of it that a compiled container may depend on.

Mautic compiles services, their arguments, event subscribers and mappings of classes into its cache.
What a method does is not among that, unless it is asked while the cache is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<left_out> /\*(?!\*) .*? \*/ | //[^\n]* | \#(?!\[)[^\n]* | \s+ )
  | (?P<token>
        /\*\* .*? \*/
      | ' (?: \\. | [^'\\] )* '
      | " (?: \\. | [^"\\] )* "
      | <<<[ \t]* (?P<quote>["']?) (?P<word>\w+) (?P=quote) \n .*? ^[ \t]* (?P=word) \b
      | \$?\w+
      | .
    )
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_OPENING, _CLOSING = frozenset("{(["), frozenset("})]")

_COMPILED_BODIES = frozenset({"build", "load", "prepend", "process", "configure"})
"""Methods of bundles, extensions, compiler passes and commands that run while it is compiled. So do
static ones: getSubscribedEvents, loadMetadata, …"""


def shape(text: str) -> str | None:
    """Return a PHP file's text without comments, and without bodies that are not compiled.

    Two texts of the same shape differ in what functions do alone.

    Args:
        text: a whole file.

    Returns:
        None where its brackets do not match: nothing is known of it then.
    """
    found = (match["token"] or "" for match in _TOKEN.finditer(text))
    tokens = [token for token in found if token and not _is_plain_comment(token)]
    kept: list[str] = []
    position = 0
    depth = 0
    while position < len(tokens):
        token = tokens[position]
        kept.append(token)
        position += 1
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
        elif token.lower() == "function":
            for at in _signature(tokens, position):
                kept.append(tokens[at])
                position = at + 1
            if position < len(tokens) and tokens[position] == "{":
                end = _end_of_block(tokens, position)
                if end is None:
                    return None
                if _is_compiled(kept):
                    kept += tokens[position:end]
                position = end
    return " ".join(kept) if depth == 0 else None


def _is_plain_comment(token: str) -> bool:
    """Return True for a doc comment without annotations, whose names begin with a capital."""
    return token.startswith("/**") and not re.search(r"@\\?[A-Z]", token)


def _signature(tokens: list[str], start: int) -> Iterator[int]:
    """Yield the places of a function's words before its body, or its end without one."""
    depth = 0
    for at in range(start, len(tokens)):
        if depth == 0 and tokens[at] in {"{", ";"}:
            return
        depth += (tokens[at] in _OPENING) - (tokens[at] in _CLOSING)
        yield at


def _end_of_block(tokens: list[str], start: int) -> int | None:
    """Return the place after the block that begins at a place; None if it does not end."""
    depth = 0
    for at in range(start, len(tokens)):
        depth += (tokens[at] == "{") - (tokens[at] == "}")
        if depth == 0:
            return at + 1
    return None


def _is_compiled(kept: list[str]) -> bool:
    """Return True if the function whose signature ends what was kept may run at compile time."""
    at = len(kept) - 1 - [word.lower() for word in reversed(kept)].index("function")
    name = next((word for word in kept[at + 1 :] if word != "&"), "")
    return "static" in kept[max(0, at - 3) : at] or name.lower() in _COMPILED_BODIES
