"""What a saved file asks of an environment that shows it."""

from __future__ import annotations

import hashlib

import pytest

from tasks.core.setting_paths import ProjectPaths
from tasks.core.working_tree import (
    PLACES,
    FileChange,
    Link,
    Reaction,
    differing,
    is_passed_over,
    is_served,
    key_of,
    place_of,
    reaction,
)

PLUGIN = "docroot/plugins/AcmeBundle"
BODY = b"<?php class A { function go() { return 1; } }"
OTHER_BODY = BODY.replace(b"1", b"2")
OTHER_SHAPE = BODY.replace(b"go", b"gone")
WORKER = frozenset({"worker"})

REACTIONS = {
    "a method's body": (f"{PLUGIN}/Model/A.php", BODY, OTHER_BODY, Reaction(restart=WORKER)),
    "a method's name": (
        f"{PLUGIN}/Model/A.php",
        BODY,
        OTHER_SHAPE,
        Reaction((f"{PLUGIN}/Model/A.php",), restart=WORKER),
    ),
    "half a file": (
        f"{PLUGIN}/Model/A.php",
        BODY,
        BODY[:-3],
        Reaction((f"{PLUGIN}/Model/A.php",), restart=WORKER),
    ),
    "a new class": (
        f"{PLUGIN}/Model/A.php",
        None,
        BODY,
        Reaction((f"{PLUGIN}/Model/A.php",), restart=WORKER),
    ),
    "a class that is gone": (
        f"{PLUGIN}/Model/A.php",
        BODY,
        None,
        Reaction((f"{PLUGIN}/Model/A.php",), restart=WORKER),
    ),
    "services": (
        f"{PLUGIN}/Config/services.php",
        BODY,
        OTHER_BODY,
        Reaction((f"{PLUGIN}/Config/services.php",), routes=True, restart=WORKER),
    ),
    "a plugin's version": (
        f"{PLUGIN}/Config/config.php",
        BODY,
        OTHER_BODY,
        Reaction((f"{PLUGIN}/Config/config.php",), routes=True, install=True, restart=WORKER),
    ),
    "a new plugin": (
        f"{PLUGIN}/AcmeBundle.php",
        None,
        BODY,
        Reaction((f"{PLUGIN}/AcmeBundle.php",), routes=True, install=True, restart=WORKER),
    ),
    "a plugin's template": (
        f"{PLUGIN}/Resources/views/a.html.twig",
        b"a",
        b"b",
        Reaction(restart=WORKER),
    ),
    "a plugin's texts": (
        f"{PLUGIN}/Translations/de/messages.ini",
        b"a",
        b"b",
        Reaction((f"{PLUGIN}/Translations/de/messages.ini",), restart=WORKER),
    ),
    "a text of one's own": (
        "docroot/translations/overrides/de/CoreBundle/messages.ini",
        b"a",
        b"b",
        Reaction(("docroot/translations/overrides/de/CoreBundle/messages.ini",), restart=WORKER),
    ),
    "a style sheet": (f"{PLUGIN}/Assets/css/a.css", b"a", b"b", Reaction()),
    "a theme's template": (
        "docroot/themes/acme/html/page.html.twig",
        None,
        b"b",
        Reaction(restart=WORKER),
    ),
    "a theme's picture": ("docroot/themes/acme/thumbnail.png", b"a", b"b", Reaction()),
    "a parameter": (
        "config/parameters_own.php",
        BODY,
        OTHER_BODY,
        Reaction(("config/parameters_own.php",), routes=True, restart=WORKER),
    ),
    "the schedule": (
        "config/cron.json",
        b"{}",
        b"{ }",
        Reaction(restart=frozenset({"worker", "cron"})),
    ),
}


@pytest.mark.parametrize(("place", "before", "after", "asked"), REACTIONS.values(), ids=REACTIONS)
def test_the_cache_is_compiled_only_where_it_depends_on_the_change(
    place: str, before: bytes | None, after: bytes | None, asked: Reaction
) -> None:
    assert reaction([FileChange(place, before, after)]) == asked


LINKED = {
    "of a class": (f"{PLUGIN}/Model/A.php", True, True),
    "of a plugin's folder": ("docroot/plugins/BrkBundle", True, True),
    "of texts": (f"{PLUGIN}/Translations/de", True, True),
    "of the configuration": ("config/bundles_local.php", True, False),
    "of a picture": (f"{PLUGIN}/Assets/a.png", False, True),
    "of a theme": ("docroot/themes/acme", False, False),
}


@pytest.mark.parametrize(("place", "compiles", "installs"), LINKED.values(), ids=LINKED)
@pytest.mark.parametrize("other", [None, BODY])
def test_a_link_may_lead_to_anything(
    place: str, compiles: bool, installs: bool, other: bytes | None
) -> None:
    for before, after in ((other, Link(b"b")), (Link(b"b"), other), (Link(b"b"), Link(b"c"))):
        asked = reaction([FileChange(place, before, after)])
        assert (bool(asked.compile), asked.routes, asked.install) == (compiles, compiles, installs)


def test_a_link_is_no_file_of_the_same_bytes() -> None:
    assert key_of(Link(b"b")) == "link b"
    assert key_of(b"link b") == hashlib.sha256(b"link b").hexdigest()


def test_several_changes_ask_for_everything_once() -> None:
    template = FileChange("docroot/themes/acme/html/page.html.twig", b"a", b"b")
    new = FileChange(f"{PLUGIN}/A.php", None, BODY)
    assert reaction([template, new]) == Reaction((new.place,), restart=WORKER)


USES_ROUTES = b"<?php use Symfony\\Component\\Routing\\Generator\\UrlGeneratorInterface; class A {}"
ADDS_ROUTES = b"<?php use Mautic\\CoreBundle\\Event\\RouteEvent; class A {}"
A_PATH = b"<?php class A { const PATH = '/a'; }"
ROUTED = {
    "a class": ("Service/A.php", None, BODY, False),
    "one that makes URLs": ("Service/A.php", BODY, USES_ROUTES, False),
    "one that adds routes": ("Service/A.php", None, ADDS_ROUTES, True),
    "one that no longer does": ("Service/A.php", ADDS_ROUTES, BODY, True),
    "one that names its route": (
        "Controller/A.php",
        BODY,
        b"<?php use Symfony\\Component\\Routing\\Attribute\\Route; class A {}",
        True,
    ),
    "one that adds others": ("Service/A.php", ADDS_ROUTES, ADDS_ROUTES + b" // b", True),
    "a constant": ("Service/A.php", A_PATH, A_PATH.replace(b"/a", b"/b"), True),
    "a part of the configuration": ("routes.php", b"<?php return ['a'];", b"<?php f();", True),
    "a controller with a parent": (
        "Controller/A.php",
        None,
        b"<?php class A extends ARoutedOne {}",
        True,
    ),
    "one with an import more": (
        "Controller/A.php",
        b"<?php class A {}",
        b"<?php\nuse B\\C;\nclass A { function __construct(private C $c) {} }",
        False,
    ),
    "what an API shows": ("Entity/A.php", BODY, OTHER_SHAPE, True),
    "what loads services": ("DependencyInjection/A.php", BODY, OTHER_SHAPE, True),
    "a mapping": ("Resources/config/doctrine/A.yaml", b"a", b"b", True),
    "texts": ("Translations/de/messages.ini", b"a", b"b", False),
}


@pytest.mark.parametrize(("path", "before", "after", "routes"), ROUTED.values(), ids=ROUTED)
def test_routes_are_compiled_only_where_they_depend_on_the_change(
    path: str, before: bytes | None, after: bytes | None, routes: bool
) -> None:
    asked = reaction([FileChange(f"{PLUGIN}/{path}", before, after)])
    assert asked.compile
    assert asked.routes == routes


PLACED = [
    ("docker/mautic/plugins", "AcmeBundle/A.php", "docroot/plugins/AcmeBundle/A.php"),
    ("docker/mautic/plugins", "README.md", ""),
    ("docker/mautic/themes", "acme/README.md", "docroot/themes/acme/README.md"),
    (
        "docker/mautic/translations",
        "de/CoreBundle/messages.ini",
        "docroot/translations/de/CoreBundle/messages.ini",
    ),
    ("docker/mautic/config", "parameters_local.php", "config/parameters_own.php"),
    ("docker/mautic/config", "local.php", ""),
]


def test_all_that_goes_into_the_images_has_a_place() -> None:
    assert set(PLACES) == set(ProjectPaths().folders)


@pytest.mark.parametrize(("folder", "path", "place"), PLACED)
def test_a_file_has_the_place_that_the_images_give_it(folder: str, path: str, place: str) -> None:
    assert place_of(folder, path) == place


@pytest.mark.parametrize("name", ["a.php~", ".a.php.swp", "4913", ".#a.php", ".git"])
def test_what_editors_write_meanwhile_is_passed_over(name: str) -> None:
    assert is_passed_over(name)
    assert not is_passed_over("a.php")


@pytest.mark.parametrize(
    ("place", "served"),
    [
        ("docroot/themes/acme/css/a.css", True),
        (f"{PLUGIN}/Assets/js/a.js", True),
        (f"{PLUGIN}/A.php", False),
        ("config/cron.json", False),
    ],
)
def test_nginx_serves_themes_and_what_plugins_have_for_it(place: str, served: bool) -> None:
    assert is_served(place) == served


def test_the_releases_own_files_stay() -> None:
    wanted = {"same": "1", "changed": "2", "new": "3"}
    there = {"same": "1", "changed": "1", "release": "4", "ours-before": "5"}
    known = ["same", "ours-before", "never-there"]
    assert differing(wanted, there, known) == ("changed", "new", "ours-before")


def test_what_is_there_in_place_of_a_folder_is_removed() -> None:
    wanted = {"acme/css/a.css": "1", "acme/styles/more/a.css": "1"}
    there = {"acme/css/a.css": "1", "acme/styles": "link css", "acme/style": "2"}
    assert differing(wanted, there, ()) == ("acme/styles", "acme/styles/more/a.css")
