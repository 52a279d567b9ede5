"""Image references, as Docker reads them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tasks.core.errors import InputError

HUB = "docker.io"

# https://github.com/distribution/reference, the grammar at the top of reference.go
_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9A-Z.:_/\[\]-]+?)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?"
    r"(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,}))?"
)


@dataclass(frozen=True)
class Reference:
    """An image reference in its parts.

    Attributes:
        host: the registry, e.g. ``docker.io`` or ``localhost:5050``.
        repository: the path in that registry, e.g. ``library/debian``.
        tag: the tag, or None.
        digest: the digest, or None.
        name: everything before tag and digest, as it was written.
    """

    host: str
    repository: str
    tag: str | None
    digest: str | None
    name: str

    @property
    def wanted(self) -> str:
        """The reference for requests to the registry: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def at(self, digest: str) -> str:
        """Return the reference pinned to a digest, with its tag."""
        return f"{self.name}:{self.tag}@{digest}" if self.tag else f"{self.name}@{digest}"


def parse_reference(text: str) -> Reference:
    """Parse an image reference.

    Raises:
        InputError: Docker would not accept it.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is not an image reference")
    name, tag, digest = match["name"], match["tag"], match["digest"]
    host, slash, path = name.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = HUB, name
    if host == HUB and "/" not in path:
        path = f"library/{path}"
    if not re.fullmatch(r"[a-z0-9]+(?:[._-]+[a-z0-9]+|/[a-z0-9]+)*", path):
        raise InputError(f"{text!r} is not an image reference")
    return Reference(host, path, tag, digest, name)


def place_of(url: str) -> str:
    """Return a registry's URL in one form: the same for every name of one registry.

    Args:
        url: host and path, or an empty string, for which it is returned.
    """
    host, _, path = url.partition("/")
    host = host.lower().replace(".ecr-fips.", ".ecr.")
    if is_loopback(host):
        host = re.sub(r"^.*?(:[0-9]+)?$", r"localhost\1", host)
    return f"{host}/{path}" if host else ""


def place_of_image(reference: str) -> str:
    """Return the place of the registry that an image is in; empty if its reference has none."""
    return place_of(reference.partition("@")[0].rpartition("/")[0])


def is_loopback(host: str) -> bool:
    """Return True if a registry's host[:port] is this machine."""
    name = re.sub(r":\d+\Z", "", host).strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
