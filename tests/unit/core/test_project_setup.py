"""The files of a project: their text, and what is told of them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tasks.core.errors import InputError
from tasks.core.gitlab_pipeline import Pipeline, event_variables, with_included
from tasks.core.project_files import ProjectInputs
from tasks.core.project_layout import Layout
from tasks.core.project_setup import (
    TEMPLATE,
    Answers,
    SuitePackage,
    news,
    pipeline_advice,
    pipeline_of,
    ports_of,
    project_name,
    settings_text,
    template_of,
    wrapper_text,
)
from tasks.core.settings import parse
from tests.support.suite import ROOT

PORTS = (20000, 20001, 20002)
VERSIONS = {"DEBIAN": "trixie", "PHP": "8.4", "MAUTIC_IMAGE": "mautic/mautic:7.2-fpm"}
NOTHING = Layout("", "", "", "", "", "")
CLUSTER = Answers("acme", "{slug}.example.com", "registry.example.com/acme", "here")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
    return found


@pytest.mark.parametrize("answers", [Answers("acme"), CLUSTER])
@pytest.mark.parametrize("mautic", ["", "5.1"])
def test_new_settings_are_valid(answers: Answers, mautic: str) -> None:
    layout = Layout("classic", "plugins", "", "", "", mautic)
    text = settings_text(answers, layout, PORTS, VERSIONS)
    settings = parse(yaml.safe_load(text), lambda _: "invoke.yaml")
    assert settings.paths.folders == {"docker/mautic/plugins": "plugins"}
    assert settings.images.php == ("8.2" if mautic else "8.4")
    assert settings.platform.registry_port == 20001
    assert set(settings.environments) == {"local", *(["dev"] if answers.cluster else [])}


@pytest.mark.parametrize(
    ("folder", "name"),
    [("acme", "acme"), ("Acme Mautic_2", "acme-mautic-2"), ("42 things!", "things"), ("éß", "")],
)
def test_a_project_is_named_after_its_folder(folder: str, name: str) -> None:
    assert project_name(folder) == name
    assert len(project_name("x" * 99)) == 40


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (Answers("acme", cluster="here"), "--host, --registry"),
        (Answers("acme", "example.com", "r.example.com/a", "here"), "{slug}"),
    ],
)
def test_answers_that_do_not_fit_are_refused(answers: Answers, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("{", r"\{")):
        answers.check()


def test_ports_follow_from_the_name_and_pass_over_those_that_are_taken() -> None:
    first = ports_of("acme", lambda _: True)
    assert first == ports_of("acme", lambda _: True)
    assert first[0] + 3 == ports_of("acme", lambda port: port != first[1])[0]
    with pytest.raises(InputError):
        ports_of("acme", lambda _: False)


def test_the_wrapper_is_the_suites_own_with_other_places() -> None:
    text = wrapper_text((ROOT / "inv").read_text())
    assert "\nlock=$root/.mautic-multidev/requirements.lock\n" in text
    assert "\nmodule=mautic_multidev\n" in text
    assert "tasks/adapters" not in text


def test_a_package_that_lies_in_the_project_is_named_by_version() -> None:
    assert SuitePackage("1.0", "ab").line == "mautic-multidev==1.0 \\\n    --hash=sha256:ab\n"
    there = SuitePackage("1.0", "ab", "https://x/y.whl")
    assert there.line == "mautic-multidev @ https://x/y.whl \\\n    --hash=sha256:ab\n"
    assert there.wheel == ""


def test_included_jobs_run_as_in_the_suites_own_pipeline(document: dict[str, Any]) -> None:
    template = template_of(document)
    made = with_included(pipeline_of(document, with_cluster=True), {TEMPLATE: template}.__getitem__)
    on = {name: "" for name in made["variables"] if name.endswith("_DISABLED")}
    for event, branch in (("push", "feature/x"), ("push", "main"), ("schedule", "main")):
        given = {**event_variables(event, branch, default_branch="main"), **on}
        ours = [job for job in Pipeline(document).jobs(given) if job.name not in {"lint", "unit"}]
        theirs = Pipeline(made).jobs(given)
        assert [job.name for job in theirs] == [job.name for job in ours]
        assert [job.commands for job in theirs] == [job.commands for job in ours]
    assert "default" not in template
    assert all("extends" not in job for job in template.values())


def test_jobs_without_an_environment_are_held_back(document: dict[str, Any]) -> None:
    made = with_included(
        pipeline_of(document, with_cluster=False), {TEMPLATE: template_of(document)}.__getitem__
    )
    for branch in ("feature/x", "main"):
        event = event_variables("push", branch, default_branch="main")
        assert [job.name for job in Pipeline(made).jobs(event)] == []


def test_a_pipeline_that_includes_the_jobs_needs_nothing_more(document: dict[str, Any]) -> None:
    for include in ([{"local": TEMPLATE}], {"local": f"/{TEMPLATE}"}):
        assert pipeline_advice({"include": include}, document, with_cluster=True) == []
    advice = pipeline_advice({"gc": {}, "mine": {}}, document, with_cluster=True)
    assert advice[-1].startswith("and rename its own gc,")


def test_what_is_included_from_elsewhere_is_no_guess() -> None:
    for include in ({"project": "a/b", "file": "x.yml"}, "https://example.com/x.yml"):
        with pytest.raises(InputError, match="elsewhere"):
            with_included({"include": include}, lambda _: {})


BEFORE = "# Changelog\n\n## [1]\n\n### Added\n\n- a\n"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (BEFORE, []),
        (
            "# Changelog\n\n## [2]\n\n### Fixed\n\n- b\n\n### Added\n\n" + BEFORE[13:],
            ["# Changelog", "## [2]", "### Fixed", "- b"],
        ),
        (
            "# Changelog\n\n## [1]\n\n### Added\n\n- a\n- c\n",
            ["# Changelog", "## [1]", "### Added", "- c"],
        ),
    ],
)
def test_news_are_what_a_changelog_did_not_say_before(after: str, said: list[str]) -> None:
    assert news(after, BEFORE) == said


def test_inputs_are_known_by_their_paths_in_the_project() -> None:
    built = frozenset({"docker/mautic/plugins/A/a.php", "docker/nginx/nginx.conf"})
    inputs = ProjectInputs(
        lambda: built, lambda path: path.endswith(".php"), {"docker/mautic/plugins": "plugins"}
    )
    assert inputs.paths() == {"plugins/A/a.php"}
    assert inputs.holds("plugins/B/b.php")
    assert not inputs.holds("plugins/README.md")
    assert not inputs.holds("other/b.php")
