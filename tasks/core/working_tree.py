"""What a change of a project's files asks of an environment that shows them as they are.

Files are named by their places in the image, relative to Mautic's project: docroot/plugins/…,
docroot/themes/…, docroot/translations/…, config/….
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tasks.core.php_shape import shape
from tasks.core.setting_paths import BUILT

PLACES = {
    f"{BUILT}/plugins": "docroot/plugins",
    f"{BUILT}/themes": "docroot/themes",
    f"{BUILT}/translations": "docroot/translations",
    f"{BUILT}/config": "config",
}
"""Where the images have each folder that they get of a project (docker/mautic/Dockerfile)."""

_OF_THE_IMAGE = {"config/local.php", "config/paths_local.php", "config/config_override.php"}
"""Files of the image's own, which a build refuses in their place."""
_RENAMED = {"config/parameters_local.php": "config/parameters_own.php"}

_PASSED_OVER = re.compile(
    # What the Dockerfiles and their ignore files leave out, and what editors write while they save.
    r"\.git|\.gitkeep|\.DS_Store|\.idea|\.vscode|node_modules"
    r"|.*~|\.\#.*|\#.*\#|\..*\.sw[a-z]|4913|.*___jb_(?:tmp|old)___"
)
_PLUGIN_CLASS = re.compile(r"docroot/plugins/([^/]+)/\1\.php")
_PLUGIN_CONFIG = re.compile(r"docroot/plugins/[^/]+/Config/config\.php")
_SCHEDULE = "config/cron.json"
_PLUGINS = PLACES[f"{BUILT}/plugins"]
_THEMES = PLACES[f"{BUILT}/themes"]
_COMPILED_SUFFIXES = {".yaml", ".yml", ".xml", ".ini", ".json"}
"""Of services and routes, mappings, and texts in other languages."""
_WITHOUT_ROUTES = {".twig", ".ini"}
_ROUTED_FOLDERS = {"DependencyInjection", "Entity"}
"""Of a plugin, beside its configuration: whose listeners add routes, and what has an API."""
_ADDS_ROUTES = re.compile(rb"RouteEvent|BUILD_ROUTE")
_ROUTING = re.compile(
    _ADDS_ROUTES.pattern + rb"|ApiPlatform|Routing\\(?!Generator\\|Matcher\\|RouterInterface)"
)
"""What a class mentions from which routes are made; one that only uses them needs none of it."""
_CLASS = re.compile(rb"\b(?:class|interface|trait|enum)\s+\w")
_CONSTANT = re.compile(rb"\b(?:const|case)\b[^;:=]*=[^;]*;")
_INHERITED = re.compile(rb"\bextends\s+[\w\\]+|^\s+use\s[^;]*;", re.MULTILINE)
"""What a class has from others: attributes with routes, maybe. Imports begin their line."""


class Link(bytes):
    """Where a link leads, in place of a file's content."""

    @property
    def target(self) -> str:
        """Where it leads."""
        return self.decode(errors="surrogateescape")


def key_of(content: bytes) -> str:
    """Return what tells a content from others, as ``LIST`` in flows/workshop_words.py does."""
    if isinstance(content, Link):
        return f"link {content.target}"
    return hashlib.sha256(content).hexdigest()


def is_passed_over(name: str) -> bool:
    """Return True if a file or folder of that name is never shown."""
    return _PASSED_OVER.fullmatch(name) is not None


def place_of(folder: str, path: str) -> str:
    """Return where the image has a file of a project; empty if it takes none there.

    Args:
        folder: one of ``PLACES``.
        path: relative to the folder.
    """
    if path == "README.md":
        return ""
    place = f"{PLACES[folder]}/{path}"
    return "" if place in _OF_THE_IMAGE else _RENAMED.get(place, place)


def is_served(place: str) -> bool:
    """Return True for what nginx may serve of a project: it follows no link."""
    return "Assets" in place.split("/") or place.startswith(f"{_THEMES}/")


def folders_above(paths: Iterable[str]) -> set[str]:
    """Return all folders that paths are in."""
    found = {""}
    for path in paths:
        folder = posixpath.dirname(path)
        while folder not in found:
            found.add(folder)
            folder = posixpath.dirname(folder)
    return found - {""}


@dataclass(frozen=True)
class FileChange:
    """A file that was written or removed.

    Attributes:
        place: where the image has it.
        before: its content before; None if it was not there, or that is unknown.
        after: its content; None if it is removed. Of a link both are a ``Link``.
    """

    place: str
    before: bytes | None
    after: bytes | None

    @property
    def is_new_or_gone(self) -> bool:
        """Whether there was no such file, or is none any more."""
        return self.before is None or self.after is None

    @property
    def is_of_link(self) -> bool:
        """Whether it is, or was, a link: what it leads to may be anything."""
        return isinstance(self.before, Link) or isinstance(self.after, Link)


@dataclass(frozen=True)
class Reaction:
    """What changes ask of an environment beside the files themselves.

    Attributes:
        compile: the files whose change the compiled cache depends on.
        routes: whether the routes in it may be others than before. They take longer than the rest.
        install: whether Mautic has to look for new or updated plugins.
        restart: the services whose programs run on with what they have read.
    """

    compile: tuple[str, ...] = ()
    routes: bool = False
    install: bool = False
    restart: frozenset[str] = field(default=frozenset())


def reaction(changes: Iterable[FileChange]) -> Reaction:
    """Return what changes ask for, all together."""
    compile_: list[str] = []
    routes, install, restart = False, False, set()
    for change in changes:
        if _is_compiled(change):
            compile_.append(change.place)
            routes = routes or _may_route(change)
        install = install or _is_of_installation(change)
        if not _is_static(change.place):
            restart.add("worker")
        if change.place == _SCHEDULE:
            restart.add("cron")
    return Reaction(tuple(compile_), routes, install, frozenset(restart))


def _is_static(place: str) -> bool:
    """Return True for what nginx serves as it is, or a builder of themes reads at each use."""
    is_theme = place.startswith(f"{_THEMES}/")
    return "Assets" in place.split("/") or (is_theme and _suffix(place) not in {".php", ".twig"})


def _is_compiled(change: FileChange) -> bool:
    place, suffix = change.place, _suffix(change.place)
    if _is_static(place) or place.startswith(f"{_THEMES}/") or place == _SCHEDULE:
        return False
    if change.is_of_link:
        return True
    if suffix == ".twig":
        # Of a plugin without templates, their folder is not known to Twig.
        return change.is_new_or_gone
    if suffix != ".php":
        return suffix in _COMPILED_SUFFIXES
    if _is_config(place) or change.is_new_or_gone or _mentions(_ADDS_ROUTES, change):
        return True
    before, after = (_shape(text) for text in (change.before, change.after))
    return before is None or before != after


def _may_route(change: FileChange) -> bool:
    """Return True if routes may depend on a change that the cache is compiled for."""
    if (suffix := _suffix(change.place)) in _WITHOUT_ROUTES:
        return False
    if suffix != ".php" or _is_of_installation(change) or _is_config(change.place):
        return True
    folders = change.place.split("/")
    if not _ROUTED_FOLDERS.isdisjoint(folders) or _mentions(_ROUTING, change):
        return True
    before, after = change.before or b"", change.after or b""
    if any(text and not _CLASS.search(text) for text in (before, after)):
        # It may be a part of Config/config.php.
        return True
    if change.before is not None and _CONSTANT.findall(before) != _CONSTANT.findall(after):
        return True
    return "Controller" in folders and _INHERITED.findall(before) != _INHERITED.findall(after)


def _is_config(place: str) -> bool:
    """Return True for a file of Mautic's configuration, or of a plugin's."""
    return place.startswith("config/") or "Config" in place.split("/")


def _mentions(what: re.Pattern[bytes], change: FileChange) -> bool:
    return any(what.search(text or b"") for text in (change.before, change.after))


def _suffix(place: str) -> str:
    return posixpath.splitext(place)[1]


def _is_of_installation(change: FileChange) -> bool:
    if _PLUGIN_CONFIG.fullmatch(change.place) or (
        change.is_of_link and change.place.startswith(f"{_PLUGINS}/")
    ):
        return True
    return change.is_new_or_gone and _PLUGIN_CLASS.fullmatch(change.place) is not None


def _shape(text: bytes | None) -> str | None:
    return shape((text or b"").decode(errors="replace"))


def differing(
    wanted: Mapping[str, str], there: Mapping[str, str], known: Iterable[str]
) -> tuple[str, ...]:
    """Return the places of files that have to be written or removed.

    Args:
        wanted: the key of each file of the project, by its place.
        there: the same of what the environment has, the release's own files among them.
        known: places of files that the project is known to have had.
    """
    written = {place for place, key in wanted.items() if there.get(place) != key}
    gone = {place for place in known if place in there and place not in wanted}
    # What is written below a link is written, and later removed, where that leads.
    gone |= folders_above(wanted) & there.keys()
    return tuple(sorted(written | gone))
