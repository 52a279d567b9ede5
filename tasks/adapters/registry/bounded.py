"""Bounds how much of a registry's answer is read: nobody vouches for what is at the other end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tasks.adapters.registry.attachments import SIZE_MAX
from tasks.core.errors import RegistryError

if TYPE_CHECKING:
    import requests

MIB = 1 << 20
MANIFEST_MAX_BYTES = 4 * MIB
"""What the distribution specification lets registries demand ("Pushing manifests")."""
TAGS_MAX_BYTES = 16 * MIB
"""Limit of a page of tags: 1,000 are asked for, but a registry may send all, up to 128 bytes each.
"""
OTHER_MAX_BYTES = SIZE_MAX
"""Limit of a blob: configurations of images and attached files are read, never layers. It may come
from any address, because registries redirect to their storage."""


def bound(answer: requests.Response, **_: Any) -> None:
    """Bound what is read of an answer's body; a hook of requests, called before it reads.

    Reading more raises RegistryError.
    """
    path = urlsplit(answer.url).path
    limit = OTHER_MAX_BYTES
    if "/manifests/" in path:
        limit = MANIFEST_MAX_BYTES
    elif path.endswith("/tags/list"):
        limit = TAGS_MAX_BYTES
    answer.raw = _Bounded(answer.raw, limit, f"{answer.request.method} {path}", answer.url)


class _Bounded:
    """The body of an answer, up to a limit."""

    def __init__(self, body: Any, limit: int, request: str, url: str) -> None:
        self._body = body
        self._left = self._limit = limit
        self._request = request
        self._host = urlsplit(url).netloc.rpartition("@")[2]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)

    def stream(self, amt: int, *, decode_content: bool | None = None) -> Iterator[bytes]:
        """Yield the body in parts."""
        for part in self._body.stream(amt, decode_content=decode_content):
            yield self._counted(part)

    def read(self, amt: int | None = None, **options: Any) -> bytes:
        """Return a part of the body, or all of it up to the limit."""
        wanted = self._left + 1 if amt is None else amt
        return self._counted(self._body.read(wanted, **options))

    def _counted(self, part: bytes) -> bytes:
        self._left -= len(part)
        if self._left < 0:
            self._body.close()
            raise RegistryError(
                f"the registry {self._host} answered {self._request} with more than "
                f"{self._limit // MIB} MiB, and was not read further",
                hint="no registry does that; what is at this address?",
            )
        return part
