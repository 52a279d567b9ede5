"""Where a repository of a Mautic project has its plugins, themes and configuration."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

_CONFIG = re.compile(
    r"(parameters|config|bundles|security)_local\.php|cron\.json|[^/]+\.pem", re.ASCII
)
"""What of a folder config/ is a project's own: docker/mautic/config/README.md. The rest is either
Mautic's or has secrets in it."""

PATHS = ("plugins", "themes", "translations", "config")
"""The folders of a project that go into the images, as the settings name them."""

_METADATA = "app/release_metadata.json"
_COMPOSER = ("mautic/core-lib", "mautic/core")
_RELEASE = re.compile(r"\D*(\d+\.\d+)")


@dataclass(frozen=True)
class Layout:
    """What was found.

    Attributes:
        kind: what to call it.
        plugins: the folder of plugins; empty without one.
        themes: the folder of themes, likewise.
        translations: the folder of languages and own words, likewise.
        config: the folder of the project's configuration, likewise.
        mautic: the release of Mautic that it is for, such as 5.1; empty if nothing says so.
        left_out: folders of the other layout, for of each kind one goes into the images.
    """

    kind: str
    plugins: str
    themes: str
    translations: str
    config: str
    mautic: str
    left_out: tuple[str, ...] = ()

    @property
    def paths(self) -> dict[str, str]:
        """The folders by the names of the settings."""
        return {name: getattr(self, name) for name in PATHS}

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of Mautic's."""
        return not any(self.paths.values())


def find_layout(files: Collection[str], read: Callable[[str], str]) -> Layout:
    """Return the layout of a repository.

    Args:
        files: its files, as git has them.
        read: returns a file's text.
    """
    web = "docroot/" if any(name.startswith("docroot/") for name in files) else ""
    whole = f"{web}{_METADATA}" in files
    kind = "recommended-project" if web else "classic"
    plugins, themes, translations = (
        f"{web}{name}" if _has(files, f"{web}{name}/") else ""
        for name in ("plugins", "themes", "translations")
    )
    config = next((name for name in ("config", "app/config") if _is_own(files, name)), "")
    folders = [*PATHS[:3], *(f"docroot/{name}" for name in PATHS[:3])]
    there = [name for name in folders if _has(files, f"{name}/")]
    there += [name for name in ("config", "app/config") if _is_own(files, name)]
    found = Layout(
        f"{kind}, with Mautic's own code" if whole else kind,
        plugins,
        themes,
        translations,
        config,
        _release(files, read, f"{web}{_METADATA}"),
    )
    found = replace(found, left_out=tuple(x for x in there if x not in found.paths.values()))
    return replace(found, kind="no plugins or themes yet") if found.is_empty else found


def _has(files: Collection[str], folder: str) -> bool:
    return any(name.startswith(folder) for name in files)


def _is_own(files: Collection[str], folder: str) -> bool:
    return any(
        name.startswith(f"{folder}/") and _CONFIG.fullmatch(name.removeprefix(f"{folder}/"))
        for name in files
    )


def _release(files: Collection[str], read: Callable[[str], str], metadata: str) -> str:
    """Return the release that Mautic's own file, or composer's, names."""
    for name in (metadata, "composer.json"):
        if name not in files:
            continue
        try:
            document = json.loads(read(name))
        except ValueError:
            continue
        if not isinstance(document, dict):
            continue
        required = document.get("require") or {}
        wanted = [document.get("version", "")] if name == metadata else []
        wanted += [required.get(package, "") for package in _COMPOSER]
        for text in wanted:
            if match := _RELEASE.match(str(text)):
                return match[1]
    return ""
