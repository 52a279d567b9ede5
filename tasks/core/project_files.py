"""The files of a project that uses the suite as a package: what is where, and what it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

SETTINGS = "invoke.yaml"
OWN = ".mautic-multidev"
"""The folder of what the suite keeps in a project."""

LOCK = f"{OWN}/requirements.lock"
"""The packages that ./inv installs in a project, the suite's own among them."""


class ProjectInputs:
    """What images are built from, by the paths that it has in the project.

    It is read from the assembled files, which git does not know. The suite's own belong to its
    version, which the project's lock names.

    Args:
        paths: the assembled files, relative to their root.
        folders: folders of the assembled files, and where the project has them.
        holds: returns True if images are built from an assembled file of that path.
    """

    def __init__(
        self,
        paths: Callable[[], frozenset[str]],
        holds: Callable[[str], bool],
        folders: Mapping[str, str],
    ) -> None:
        self._paths = paths
        self._holds = holds
        self._folders = folders

    def paths(self) -> frozenset[str]:
        """Return the files and links of the project, relative to it."""
        found = (moved(path, self._folders) for path in self._paths())
        return frozenset(path for path in found if path)

    def holds(self, path: str) -> bool:
        """Return True if images would be built from a file of the project at that path."""
        back = {there: here for here, there in self._folders.items()}
        place = moved(path, back)
        return bool(place) and self._holds(place)


def moved(path: str, folders: Mapping[str, str]) -> str:
    """Return where a path is after folders were moved; empty if it is in none of them."""
    for before, after in folders.items():
        if path.startswith(f"{before}/"):
            return f"{after}{path.removeprefix(before)}"
    return ""
