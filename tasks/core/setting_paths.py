"""The settings of where a project keeps what goes into its images."""

from __future__ import annotations

from pydantic import Field

from tasks.core.setting_values import Folder, Strict

BUILT = "docker/mautic"
"""The folder of the suite that images get them from."""


class ProjectPaths(Strict):
    """Where the repository keeps what goes into the images; an empty path: it has none of it."""

    plugins: Folder = Field(f"{BUILT}/plugins", description="Folder of the project's plugins.")
    themes: Folder = Field(f"{BUILT}/themes", description="Folder of the project's themes.")
    translations: Folder = Field(
        f"{BUILT}/translations", description="Folder of the project's languages and own words."
    )
    config: Folder = Field(
        f"{BUILT}/config",
        description="Folder of what is laid into Mautic's `config/` "
        "([which files](../docker/mautic/config/README.md)).",
    )

    @property
    def folders(self) -> dict[str, str]:
        """The folders, by the path that the images get each from."""
        return {f"{BUILT}/{name}": place for name, place in self if place}
