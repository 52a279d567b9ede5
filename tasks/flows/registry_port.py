"""The ports of images: an environment's registry, and what this machine has of it besides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from tasks.adapters.registry.attachments import Attachment
    from tasks.core.images.retention import StoredImage


class Registry(Protocol):
    """One registry, and a path in it below which the repositories live.

    ``adapters.registry.oci`` speaks to any by the OCI's API, ``adapters.registry.ecr`` to Amazon's
    by its own. Repositories are named below that path. Whatever is refused, failed or cannot be
    reached is a RegistryError or an AwsError.
    """

    url: str
    host: str

    def repository(self, name: str) -> str:
        """Return a repository's full name, host included."""

    def reference(self, repository: str, digest: str) -> str:
        """Return the reference of an image by its digest."""

    def ping(self) -> None:
        """Check that the registry answers; raise UnreachableError if not."""

    def missing(self, repositories: Sequence[str]) -> tuple[str, ...]:
        """Return the repositories that a build has to make before it can push to them."""

    def make(self, repositories: Iterable[str]) -> None:
        """Make repositories."""

    def login(self) -> AbstractContextManager[Mapping[str, str]]:
        """Log docker in for the duration of the context, and yield the variables it needs."""

    def digest(self, repository: str, reference: str) -> str | None:
        """Return the digest of an image, or None when there is no such image."""

    def digests(self, wanted: Iterable[tuple[str, str]]) -> list[str | None]:
        """Return the digests of several images, in order."""

    def labels(self, repository: str, reference: str) -> dict[str, str]:
        """Return an image's labels."""

    def tag(self, repository: str, source: str, tags: Iterable[str]) -> None:
        """Add tags to an image; they are moved if other images have them."""

    def tags(self, repository: str) -> dict[str, str]:
        """Return every tag of a repository with its digest."""

    def delete_tags(self, repository: str, tags: Sequence[str]) -> int:
        """Delete tags in this order, ignoring missing ones; return the number of deleted tags."""

    def stored(
        self, repository: str, times: Mapping[str, datetime] | None = None
    ) -> list[StoredImage]:
        """Return every manifest of a repository, as far as the registry tells of them.

        Args:
            times: when each was pushed, by its digest, where that is known besides.
        """

    def delete_images(self, repository: str, digests: Sequence[str]) -> int:
        """Delete manifests with all their tags, ignoring missing ones; return how many went."""

    def attach(self, repository: str, digest: str, files: Sequence[Attachment]) -> None:
        """Attach files to an image, in place of those that were attached to it before."""

    def push_layer(self, repository: str, chunks: Iterable[bytes]) -> str:
        """Store an image of one layer, a plain tar, without a tag; return its digest."""

    def attached(self, repository: str, digest: str) -> list[Attachment]:
        """Return the files that are attached to an image; none if nothing ever was."""


@dataclass(frozen=True)
class Copy:
    """The engine's own copy of an image.

    Attributes:
        id: the engine's id of it.
        names: all its names.
        size: bytes.
    """

    id: str
    names: tuple[str, ...]
    size: int


class LocalImages(Protocol):
    """What this machine has of images: its own registry's storage, and its engine's copies."""

    def push_times(self, repository: str) -> Mapping[str, datetime]:
        """Return when each manifest of a repository was pushed or tagged last, by its digest."""

    def copies(self, kept: Collection[str], young_before: datetime) -> Sequence[Copy]:
        """Return the engine's copies that nobody needs.

        Args:
            kept: the names (``StoredImage``) of the registry's images that are kept.
            young_before: copies that were made or named since are left alone.
        """

    def remove_copy(self, copy: Copy) -> None:
        """Remove a copy, unless a container has begun to use it."""

    def garbage(self) -> int:
        """Return the number of blobs that no manifest of the local registry names."""

    def collect(self, say: Callable[[str], None]) -> str:
        """Run the local registry's garbage collection, unless a push is under way.

        Returns:
            What was done, in a few words.
        """
