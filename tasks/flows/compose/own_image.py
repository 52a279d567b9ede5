"""The images of the local platform's own, which are built on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tasks.adapters.files.digest import digest_of


@dataclass(frozen=True)
class OwnImage:
    """One of them.

    Attributes:
        target: its target in the bake file, and its name.
        bake: the bake file.
        folders: its sources.
    """

    target: str
    bake: str
    folders: tuple[str, ...]

    def reference(self, root: Path) -> str:
        """Return its reference, tagged with a hash of its sources.

        The Debian that it is built on does not count: all branches share it, whatever theirs is.

        Args:
            root: the checkout.
        """
        files = (
            path
            for folder in self.folders
            for path in sorted((root / folder).rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        )
        return f"mautic-platform/{self.target}:{digest_of(files, root)[:16]}"


PROXY = OwnImage("proxy", "docker/platform/docker-bake.hcl", ("docker/platform/proxy",))
WAKER = OwnImage(
    "entrance",
    "docker/platform/entrance/docker-bake.hcl",
    ("docker/platform/entrance", "docker/apt", "tasks/core", "tasks/adapters/files"),
)
"""It is the program of a cluster's entrance."""
