"""Masks secrets in everything that is shown."""

from __future__ import annotations

import re

MASK = "[redacted]"
MIN_LENGTH = 4
"""Shorter values are not masked: they occur in ordinary text, and are no secrets."""

_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")


class Redactor:
    """Replaces known secrets, and passwords in URLs, by a mask."""

    def __init__(self) -> None:
        self._secrets: list[str] = []

    def add(self, secret: str) -> None:
        """Mask this value from now on.

        Args:
            secret: the value; each line of it is also masked separately, because output is shown
                line by line. Lines of fewer than 4 characters are ignored.
        """
        new = {part for part in (secret, *secret.splitlines()) if len(part) >= MIN_LENGTH}
        # Longest first: a secret may contain another.
        self._secrets = sorted(new | set(self._secrets), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text with every known secret masked."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _URL_PASSWORD.sub(rf"\1:{MASK}@", text)
