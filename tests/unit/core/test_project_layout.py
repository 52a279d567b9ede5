"""What is found in a repository of a Mautic project."""

from __future__ import annotations

import json

import pytest

from tasks.core.project_layout import find_layout


def found(files: dict[str, str]) -> tuple[str, ...]:
    layout = find_layout(files.keys(), lambda name: files[name])
    return layout.plugins, layout.themes, layout.config, layout.mautic


def test_languages_and_own_words_are_found_in_both_layouts() -> None:
    text = "translations/overrides/en_US/CoreBundle/messages.ini"
    assert find_layout([text], str).translations == "translations"
    assert find_layout([f"docroot/{text}"], str).translations == "docroot/translations"
    assert find_layout(["plugins/A/Translations/de/x.ini"], str).translations == ""


CORE = "mautic/core-lib"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ("", "", "", "")),
        ({"plugins/A/A.php": ""}, ("plugins", "", "", "")),
        ({"themes/a/config.json": "", "docroot.md": ""}, ("", "themes", "", "")),
        ({"docroot/plugins/A/A.php": "", "plugins/B/B.php": ""}, ("docroot/plugins", "", "", "")),
        ({"config/local.php": "", "config/config.php": ""}, ("", "", "", "")),
        ({"config/cron.json": ""}, ("", "", "config", "")),
        ({"app/config/parameters_local.php": ""}, ("", "", "app/config", "")),
        ({"config/sub/cron.json": ""}, ("", "", "", "")),
        ({"config/rds.pem": ""}, ("", "", "config", "")),
        ({"composer.json": json.dumps({"require": {CORE: "~5.1.0"}})}, ("", "", "", "5.1")),
        ({"composer.json": json.dumps({"require": {CORE: "dev-main"}})}, ("", "", "", "")),
        ({"composer.json": "{"}, ("", "", "", "")),
        ({"composer.json": "[]"}, ("", "", "", "")),
        ({"app/release_metadata.json": '{"version": "7.0.1"}'}, ("", "", "", "7.0")),
        (
            {"docroot/app/release_metadata.json": '{"version": "5.2.3"}', "docroot/index.php": ""},
            ("", "", "", "5.2"),
        ),
    ],
)
def test_a_layout_is_found(files: dict[str, str], expected: tuple[str, ...]) -> None:
    assert found(files) == expected


def test_it_is_said_where_mautic_itself_is_in_the_repository() -> None:
    files = {"app/release_metadata.json": "{}", "plugins/A/A.php": ""}
    assert find_layout(files, lambda _: "{}").kind == "classic, with Mautic's own code"


def test_what_is_not_taken_is_named() -> None:
    both = ["docroot/plugins/A/A.php", "plugins/B/B.php", "config/cron.json", "app/config/x.pem"]
    assert find_layout(both, str).left_out == ("plugins", "app/config")
    assert find_layout([*both[:1], "themes/a/x"], str).left_out == ("themes",)
    assert find_layout(["plugins/A/A.php", "config/cron.json"], str).left_out == ()
