"""What a registry asks for before it answers: the challenges of ``WWW-Authenticate``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_WORD = r"[\w!#$%&'*+.^`|~-]+"
_PARTS = re.compile(
    rf"(?P<key>{_WORD})\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s,\"]+))"
    rf"|(?P<scheme>{_WORD})"
)


@dataclass(frozen=True)
class Challenge:
    """One way to be let in.

    Attributes:
        scheme: ``bearer``, ``basic`` or another one, in small letters.
        parameters: its parameters, by name in small letters.
    """

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> tuple[Challenge, ...]:
    """Return the challenges of a header, in order; several headers are one, joined by commas.

    The grammar is that of RFC 9110, section 11.6.1: commas stand between challenges as well as
    between the parameters of one. A scheme with a lone token (``Negotiate``) is of no use here,
    and what follows it is not told from another scheme.
    """
    found: list[tuple[str, dict[str, str]]] = []
    for part in _PARTS.finditer(header):
        if part["scheme"]:
            found.append((part["scheme"].lower(), {}))
        elif found:
            value = part["plain"] or re.sub(r"\\(.)", r"\1", part["quoted"] or "")
            found[-1][1].setdefault(part["key"].lower(), value)
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)
