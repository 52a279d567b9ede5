"""Masks secrets in everything that is shown."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from tasks.core.display import plain, visible

MASK = "[redacted]"
MIN_LENGTH = 4
"""Shorter values are not masked: they occur in ordinary text, and are no secrets."""

BASE64_MIN = 8
"""The same for the inner part of a value's Base64, which is shorter than what it stands for."""

USER_MAX = 16
"""Longest user name that is shown beside a masked password; tokens are longer."""

_USERINFO = re.compile(r"://(?P<user>[^\s/:@?#]*)(?P<password>:\S*)?@(?!sha\d+:)")
"""User and password of a URL. A password that was not encoded may have any character, so it ends at
the last ``@`` of the word, unless that begins an image's digest."""

_LOGIN_ONLY = re.compile(r"(?:ssh|sftp|rsync)\Z", re.IGNORECASE)
"""Schemes whose user is a name, never a token."""

_CREDENTIALS = re.compile(
    r"(?P<header>authorization\W{1,6})?\b(?P<scheme>bearer|basic)\s+"
    r"(?P<value>[\w.~+/-]+=*)(?![\w=])(?!(?<==)\"[\w/])",
    re.IGNORECASE | re.ASCII,
)
"""A header of HTTP's schemes Bearer and Basic; not a challenge, whose parameters have values."""

_WORD = re.compile(r"[A-Z]?[a-z]+[.,]?")


class Redactor:
    """Replaces known secrets, credentials in URLs and in headers by a mask."""

    def __init__(self) -> None:
        self._forms: list[str] = []

    def add(self, secret: str) -> None:
        """Mask this value from now on, also as it is quoted or encoded.

        Args:
            secret: the value; each line of it is also masked separately, because output is shown
                line by line. Lines of fewer than 4 characters are ignored.
        """
        parts = {part for part in (secret, *secret.splitlines()) if len(part) >= MIN_LENGTH}
        new = {form for part in parts for form in _forms(part) if len(form) >= MIN_LENGTH}
        # Longest first: a secret may contain another.
        self._forms = sorted(new | set(self._forms), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with every known secret masked."""
        for form in self._forms:
            text = text.replace(form, MASK)
        return _CREDENTIALS.sub(_without_value, _USERINFO.sub(_without_password, text))


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret in the forms in which programs repeat it."""
    yield from (secret, visible(secret), plain(secret))
    raw = secret.encode(errors="surrogatepass")
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield encoded
        yield re.sub("%..", lambda found: found[0].lower(), encoded)
    yield shlex.quote(secret).removeprefix("'").removesuffix("'")
    yield secret.replace("'", r"'\''")
    yield secret.replace("'", "''")  # YAML and SQL
    yield re.sub(r'(["$`\\])', r"\\\1", secret)
    yield re.sub(r"([^\w@%+=:,./-])", r"\\\1", secret)
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1])
    yield repr(secret)[1:-1]
    yield from _base64_forms(raw)


def _base64_forms(raw: bytes) -> Iterator[str]:
    """Yield a value's Base64, alone and inside that of a longer text, in both alphabets."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode()
        for before in range(3):
            # The digits at both ends also depend on what stands before and behind.
            whole = encode(bytes(before) + raw).decode().rstrip("=")
            inner = whole[(0, 2, 3)[before] : len(whole) - bool((before + len(raw)) % 3)]
            if len(inner) >= BASE64_MIN:
                yield inner


def _without_password(found: re.Match[str]) -> str:
    user, is_name = found["user"], len(found["user"]) <= USER_MAX
    if found["password"] is not None:
        return f"://{user if is_name else MASK}:{MASK}@"
    if user == "git" or _LOGIN_ONLY.search(found.string, 0, found.start()):
        return found[0]
    return f"://{MASK}@"


def _without_value(found: re.Match[str]) -> str:
    if not found["header"] and _WORD.fullmatch(found["value"]):
        return found[0]  # an ordinary sentence
    return found[0][: found.start("value") - found.start()] + MASK
