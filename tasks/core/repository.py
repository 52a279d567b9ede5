"""Normalises repository addresses: one canonical form for all ways to write them.

A user who cloned by SSH and a CI job that cloned by HTTPS own the same environments. The formats
are those of git-clone(1), "GIT URLS".
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

_ELSEWHERE = frozenset({"http", "https", "ssh", "git", "git+ssh", "ssh+git", "git+https"})
_SSH = frozenset({"ssh", "git+ssh", "ssh+git"})

_SHORT = re.compile(
    r"(?:[^/:@\[]+@)?(?:\[(?P<boxed>[^]/]+)\]|(?P<host>[^/:@\[]+)):(?P<path>(?!//).+)"
)
"""The short form of scp: a colon before the first slash; the host may stand in brackets."""

_END = re.compile(r"(?:\.git|/)+\Z")
"""An ending of addresses that git and the hosters treat as optional."""

_OTHER_DOORS = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
}
"""Hosts for SSH on port 443, for users whose port 22 is blocked."""


def canonical(url: str, resolve: Callable[[str], str] = str) -> str:
    """Return an address in one form: ``https://host/path``, without user and port; or a path.

    Args:
        url: the address; a local path stays a path.
        resolve: returns the host name of an SSH alias.
    """
    scheme, host, path = _parts(url)
    if not host:
        return (_END.sub("", path) if path.startswith("/") else path) or path
    if scheme in _SSH:
        host = resolve(host)
    host = host.lower().rstrip(".")
    way = posixpath.normpath(f"/{unquote(path).strip('/')}").strip("/")
    return f"https://{_OTHER_DOORS.get(host, host)}/{_END.sub('', way)}"


def is_same(one: str, other: str) -> bool:
    """Return True if two addresses mean one repository.

    Hosters ignore case; local paths are case-sensitive.
    """
    one, other = canonical(one), canonical(other)
    return one == other or (one.startswith("https://") and one.casefold() == other.casefold())


def _parts(url: str) -> tuple[str, str, str]:
    """Return scheme, host and path; no host where it is a path on this machine."""
    scheme, separator, _ = url.partition("://")
    if separator:
        try:
            scheme, found = scheme.lower(), urlsplit(url)
        except ValueError:  # brackets around no address
            return "", "", url
        if scheme == "file":
            return scheme, "", found.path
        return (scheme, found.hostname or "", found.path) if scheme in _ELSEWHERE else ("", "", url)
    short = _SHORT.fullmatch(url)
    if short is None:
        return "", "", url
    host = short["host"] or short["boxed"]
    # git takes a port in the brackets as well.
    return "ssh", host.partition(":")[0] if host.count(":") == 1 else host, short["path"]
