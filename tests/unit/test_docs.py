"""The documents say what is true: the reference is the model's, links and commands exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tasks.core import errors
from tasks.core.settings import Settings
from tasks.core.settings_page import page
from tests.support.suite import ROOT
from tests.unit.test_cli import ARGUMENTS, TASKS

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_configuration_reference_is_up_to_date() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text()
    assert written == page(), "run `./inv test --only docs`"


def test_every_setting_is_described() -> None:
    text = page()
    for name, field in Settings.model_fields.items():
        assert f"| `{name}` |" in text
        assert field.description
    assert "None" not in text
    assert "PydanticUndefined" not in text


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


WORDS = 1500
"""What is longer begins with a table of contents."""


def headings(path: Path) -> list[str]:
    """Return the anchors of a page's headings of all levels, as GitHub and GitLab make them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^##* (.+)$", text, re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|&[lg]t;", r"\1", title.lower()) for title in titles]
    return [re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in plain]


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_a_link_to_a_heading_leads_to_one(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", path.read_text()):
        page = path.parent / target if target else path
        if page.suffix == ".md":
            assert anchor in headings(page), (target, anchor)


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=shown)
def test_a_long_page_begins_with_a_table_of_contents(path: Path) -> None:
    text = path.read_text()
    beginning = text.partition("\n## ")[0]
    assert len(text.split()) <= WORDS or len(re.findall(r"\]\(#", beginning)) >= 3


def test_the_readme_has_a_picture_of_the_whole_and_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert "```mermaid" in text
    assert len(text.split()) <= WORDS


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_commands_that_are_shown_exist(path: Path) -> None:
    for line in re.findall(r"\./inv ([^`\n#|&]+)", path.read_text()):
        words = [word for word in line.split() if word]
        while words and words[0].startswith("-"):  # invoke's own options
            words = words[2:] if words[0] == "-f" else words[1:]
        if not words:
            continue
        assert words[0] in TASKS, line
        flags = {flag for argument in ARGUMENTS[words[0]] for flag in _flags(argument.names)}
        before_tail = words[1 : words.index("--")] if "--" in words else words[1:]
        used = {word.split("=")[0] for word in before_tail if word.startswith("--")}
        assert used <= flags | {"--help"}, line


def _flags(names: tuple[str, ...]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names]


def test_troubleshooting_knows_every_kind_of_error() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.SuiteError):
            assert f"`{name}`" in text, name


VARIABLE = re.compile(r"\b(?:MAUTIC|PHP|FPM|NGINX)_[A-Z0-9_]+[A-Z0-9]\b")
INTERNAL = {
    "MAUTIC_CONFIG_PARAMETERS",  # Mautic's own
    "MAUTIC_DB_SERVER_VERSION",  # a constant of Mautic's, set while the cache is compiled
    "MAUTIC_IMAGE",  # a build argument
    "MAUTIC_INSTALL_CONFIG",  # from migrate to the installer it starts
    "PHP_BINARY",  # PHP's constants
    "PHP_INT_MAX",
    "PHP_VERSION",
}
"""Names in docker/ that are no settings of the images."""


def documented() -> dict[str, str]:
    """Return the variables of docs/images.md with their defaults, as they are shown."""
    text = (ROOT / "docs" / "images.md").read_text()
    rows = re.findall(r"^\| `((?:MAUTIC|PHP|FPM|NGINX)_\w+)` \|([^|]*)\|", text, re.M)
    return {name: default.strip().strip("`") for name, default in rows}


def test_the_documented_variables_of_the_images_are_those_there_are() -> None:
    used: set[str] = set()
    for name in ("mautic", "nginx"):
        for path in (ROOT / "docker" / name).rglob("*"):
            if path.is_file() and path.suffix != ".md":
                used |= set(VARIABLE.findall(path.read_text()))
    used = {name.removesuffix("_FILE") for name in used}
    used |= {f"MAUTIC_ADMIN_{part}" for part in ("USERNAME", "EMAIL", "PASSWORD")}
    lines = json.loads((ROOT / "tests" / "data" / "mautic_parameters.json").read_text())
    mautics = {f"MAUTIC_{name.upper()}" for each in lines["parameters"].values() for name in each}
    assert documented().keys() - used - mautics == set(), "documented, but used nowhere"
    assert used - documented().keys() - INTERNAL == set(), "used, but not documented"


def test_the_documented_defaults_are_those_of_the_images() -> None:
    found: dict[str, str] = {}
    for name in ("mautic", "nginx"):
        text = (ROOT / "docker" / name / "Dockerfile").read_text()
        for block in re.findall(r"^ENV ((?:.*\\\n)*.*)", text, re.M):
            found |= dict(re.findall(r"([A-Z_]+)=(\S*)", block))
    settings = {name: value for name, value in found.items() if VARIABLE.fullmatch(name)}
    assert len(settings) > 20
    assert {name: documented()[name] for name in settings} == settings
    source = "".join(
        path.read_text() for path in (ROOT / "docker" / "mautic" / "php").glob("*.php")
    )
    defaults = dict(re.findall(r"get\('(MAUTIC_\w+)', '([^']*)'\)", source))
    local = (ROOT / "docker" / "mautic" / "php" / "local.php").read_text()
    for name, value in re.findall(r"^    '(\w+)' +=> '?([^',]+)'?,$", local, re.M):
        variable = f"MAUTIC_{name.upper()}"
        if variable in documented() and value not in {"null", "[]"} and "_path" not in name:
            defaults[variable] = value
    assert len(defaults) > 5
    for name, value in defaults.items():
        if not name.startswith("MAUTIC_MESSENGER_DSN_"):
            assert documented()[name] == value, name


def test_the_readme_shows_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "./inv demo" in text
    assert "./inv test" in text


def test_invoke_yaml_shown_in_the_documents_is_valid_yaml() -> None:
    for path in PAGES:
        for block in re.findall(r"```yaml\n(.*?)```", path.read_text(), re.S):
            assert isinstance(yaml.safe_load(block), dict), block
