"""The base class of registries: names of repositories and images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from tasks.adapters.parallel import map_parallel
from tasks.core.errors import RegistryError


class Repositories(ABC):
    """One registry, and a path in it below which the repositories live.

    Args:
        url: host, port and path without a scheme.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.host, _, self._path = url.partition("/")

    def repository(self, name: str) -> str:
        """Return a repository's full name, host included."""
        return f"{self.url}/{name}"

    def reference(self, repository: str, digest: str) -> str:
        """Return the reference of an image by its digest."""
        return f"{self.repository(repository)}@{digest}"

    @abstractmethod
    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of an image, or None when there is no such image."""

    def digests(self, wanted: Iterable[tuple[str, str]]) -> list[str | None]:
        """Return the digests of several images, asked for at once and returned in order.

        Args:
            wanted: repositories, each with a tag or digest.
        """
        return map_parallel(lambda each: self.digest(*each), wanted)

    def _name(self, repository: str) -> str:
        """Return a repository's name as the registry itself has it."""
        return f"{self._path}/{repository}" if self._path else repository

    def _no_image(self, repository: str, reference: str) -> RegistryError:
        return RegistryError(
            f"there is no image {reference} in {self.repository(repository)}",
            hint="build it: inv build",
        )
