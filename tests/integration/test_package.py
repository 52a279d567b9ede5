"""The suite as a package: what it holds, and what inv init and inv upgrade make of a repository."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.core.project_layout import PATHS
from tests.support.package import Installed, build, commit, install, repository, tree
from tests.support.suite import ROOT, Inv, git

OWN = ".mautic-multidev"
RECOMMENDED = {
    "composer.json": json.dumps({"require": {"mautic/core-lib": "^5.2"}}),
    "docroot/plugins/AcmeBundle/AcmeBundle.php": "<?php\n",
    "docroot/themes/acme/config.json": "{}\n",
    "docroot/translations/de/config.json": '{"name": "Deutsch"}\n',
    "config/local.php": "<?php // secrets\n",
    ".gitignore": "/docroot/plugins/MauticCrmBundle/",
}
CLASSIC = {
    "app/release_metadata.json": json.dumps({"version": "7.0.0"}),
    "plugins/AcmeBundle/AcmeBundle.php": "<?php\n",
    "themes/acme/config.json": "{}\n",
    "config/parameters_local.php": "<?php\n",
}
LAYOUTS: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "empty": ({}, {name: name for name in PATHS}, "7.2"),
    "recommended": (
        RECOMMENDED,
        {
            "plugins": "docroot/plugins",
            "themes": "docroot/themes",
            "translations": "docroot/translations",
            "config": "",
        },
        "5.2",
    ),
    "classic": (CLASSIC, {**{name: name for name in PATHS}, "translations": ""}, "7.0"),
}


@pytest.fixture(scope="module")
def source(_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout to build from, which the build may litter."""
    path = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(_project, path, symlinks=True)
    return path


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    scratch = tmp_path_factory.mktemp("installed")
    (scratch / "home").mkdir()
    return install(wheel, scratch / "venv", Inv(scratch / "home", scratch))


@pytest.fixture
def made(installed: Installed, tmp_path: Path) -> Path:
    """A project in the recommended layout."""
    where = repository(tmp_path / "acme", RECOMMENDED)
    done = installed.run(where, "init", "--yes")
    assert done.returncode == 0, done.stderr
    commit(where)
    return where


def settings_of(where: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((where / "invoke.yaml").read_text())
    return found


# -- the package ----------------------------------------------------------------------------------


def test_it_has_all_that_tasks_read_and_nothing_else(wheel: Path) -> None:
    listed = git(ROOT, "ls-files", "tasks", "helm", "terraform", "docker").splitlines()
    own = re.compile(r"docker/mautic/(plugins|themes|translations|config)/(?!README\.md)")
    inside = "mautic_multidev/suite/"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    held = {name.removeprefix(inside) for name in names if name.startswith(inside)}
    present = {name for name in listed if (ROOT / name).exists() and not own.match(name)}
    assert present <= held
    assert not [name for name in held if "__pycache__" in name or own.match(name)]
    assert {name.split("/")[0] for name in names} == {
        "mautic_multidev",
        "mautic_multidev-0.1.0.dist-info",
    }


def test_a_source_distribution_makes_the_same_wheel(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(build(source, "sdist", tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("mautic_multidev-*")
    again = build(unpacked, "wheel", tmp_path / "again")
    first, second = (zipfile.ZipFile(path) for path in (wheel, again))
    with first, second:
        names = [name for name in first.namelist() if "dist-info" not in name]
        assert names == [name for name in second.namelist() if "dist-info" not in name]
        assert [name for name in names if first.read(name) != second.read(name)] == []


def test_the_installed_program_lists_the_tasks(installed: Installed, tmp_path: Path) -> None:
    done = installed.run(tmp_path, "--list")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\s+deploy\b", done.stdout, re.M)
    shown = installed.run(tmp_path).stdout
    # What is not found by its name is named once as it was called.
    name = Path(installed.program).name
    assert f"  {name} demo " in shown
    assert shown.endswith(f"\n{name} is {installed.program}.\n")
    assert not re.search(r" (inv|test|ci\.local) ", shown)


# -- inv init -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_repository_becomes_a_project(layout: str, installed: Installed, tmp_path: Path) -> None:
    files, paths, mautic = LAYOUTS[layout]
    where = repository(tmp_path / "Acme Mautic_2", files)
    planned = installed.run(where, "init", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert tree(where).keys() == files.keys()

    done = installed.run(where, "init", "--yes")
    assert done.returncode == 0, done.stderr
    assert done.stdout == planned.stdout
    assert "./inv build && ./inv deploy" in done.stderr
    found = settings_of(where)
    assert found["project"] == "acme-mautic-2"
    assert found["paths"] == paths
    assert found["images"]["mautic"] == f"mautic/mautic:{mautic}-fpm"
    assert (where / "inv").stat().st_mode & 0o111
    for line in ("/.venv/", "/build.json"):
        assert line in (where / ".gitignore").read_text().splitlines()
    for name, text in files.items():
        assert (where / name).read_text().startswith(text)

    commit(where)
    names = installed.run(where / OWN, "names")
    assert names.returncode == 0, names.stderr
    assert re.search(r"^namespace\s+acme-mautic-2-main$", names.stdout, re.M)


def test_again_it_changes_nothing(made: Path, installed: Installed) -> None:
    before = tree(made)
    done = installed.run(made, "init", "--yes")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()[1:]} == {"keep"}
    assert tree(made) == before


def test_the_project_itself_says_what_it_has(made: Path, installed: Installed) -> None:
    done = installed.run(made, "init", "--dry-run", program=made / "inv")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()[1:]} == {"keep"}


def test_settings_that_know_no_environment_are_told_what_to_add(
    installed: Installed, tmp_path: Path
) -> None:
    where = repository(tmp_path / "acme", {"invoke.yaml": "run: {echo: false}\n"})
    done = installed.run(where, "init", "--yes")
    assert done.returncode == 0, done.stderr
    said = done.stderr.partition("add to invoke.yaml:\n")[2].partition("next:")[0]
    with (where / "invoke.yaml").open("a") as file:
        file.write(textwrap.dedent(said))
    assert settings_of(where)["project"] == "acme"
    commit(where)
    names = installed.run(where, "names")
    assert names.returncode == 0, names.stderr


@pytest.mark.parametrize(
    ("there", "message"),
    [
        ("inv/x", "inv is no file, and the suite needs one of that name"),
        (OWN, f"{OWN} is no folder, and the suite needs one of that name"),
        ("plugins", "plugins is no folder, and the suite needs one of that name"),
    ],
)
def test_what_has_the_name_of_a_file_of_its_own_is_in_the_way(
    there: str, message: str, installed: Installed, tmp_path: Path
) -> None:
    where = repository(tmp_path / "acme", {there: "x\n"})
    before = tree(where)
    done = installed.run(where, "init", "--yes")
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert tree(where) == before


def test_a_folder_whose_name_names_no_project_needs_one(
    installed: Installed, tmp_path: Path
) -> None:
    where = repository(tmp_path / "äöü", {})
    done = installed.run(where, "init", "--yes")
    assert (done.returncode, "hint: give --project" in done.stderr) == (2, True), done.stderr


def test_what_is_there_is_never_overwritten_and_what_to_add_is_said(
    installed: Installed, tmp_path: Path
) -> None:
    mine = {
        "invoke.yaml": "project: mine\nenvironments: {local: {}}\n",
        "inv": "#!/bin/sh\n",
        ".gitlab-ci.yml": "stages: [build]\ndev-build:\n  script: [!reference [.x, y]]\n",
        ".gitignore": "vendor/",
    }
    where = repository(tmp_path / "acme", mine)
    done = installed.run(where, "init", "--yes")
    assert done.returncode == 0, done.stderr
    for name in ("invoke.yaml", "inv", ".gitlab-ci.yml"):
        assert (where / name).read_text() == mine[name]
    assert (where / ".gitignore").read_text().startswith("vendor/\n/.venv/\n")
    said = done.stderr[done.stderr.index("add to .gitlab-ci.yml:") :]
    assert f"include: {{local: {OWN}/gitlab-ci.yml}}" in said
    assert "to stages: check, deploy, stop, infra, sweep" in said
    assert "rename its own dev-build" in said


def test_a_cluster_needs_all_that_belongs_to_it(installed: Installed, tmp_path: Path) -> None:
    where = repository(tmp_path / "acme", {})
    refused = installed.run(where, "init", "--yes", "--cluster", "here")
    assert refused.returncode == 2
    assert "--host, --registry" in refused.stderr
    assert tree(where) == {}
    answers = ("--host", "{slug}.dev.example.com", "--registry", "registry.example.com/acme")
    done = installed.run(where, "init", "--yes", "--cluster", "here", *answers)
    assert done.returncode == 0, done.stderr
    own = settings_of(where)["environments"]["dev"]
    assert own["cluster"] == {"kind": "context", "name": "here"}
    commit(where)
    listed = installed.run(where, "ci.explain", "--branch", "feature/x")
    assert listed.returncode == 0, listed.stderr
    assert "./inv deploy --env dev --no-build --branch feature/x" in listed.stdout
    assert "./inv test" not in listed.stdout


def test_a_project_that_is_one_already_is_told_how_to_add_a_cluster(
    installed: Installed, tmp_path: Path
) -> None:
    where = repository(tmp_path / "acme", {})
    assert installed.run(where, "init", "--yes", "--project", "mine").returncode == 0
    answers = ("--host", "{slug}.dev.example.com", "--registry", "registry.example.com/acme")
    dev = ("init", "--yes", "--cluster", "here", *answers)
    done = installed.run(where, *dev)
    assert done.returncode == 0, done.stderr
    assert "dev" not in settings_of(where)["environments"]
    said = done.stderr.partition("add to invoke.yaml:\n")[2].partition("next:")[0]
    head, added = textwrap.dedent(said).split("\n", 1)
    assert head == "environments:"
    with (where / "invoke.yaml").open("a") as file:  # which ends with the environments
        file.write(added)
    assert settings_of(where)["environments"]["dev"]["host"] == "{slug}.dev.example.com"
    commit(where)
    names = installed.run(where, "names", "--env", "dev")
    assert names.returncode == 0, names.stderr
    again = installed.run(where, *dev, "--project", "mine")
    assert (again.returncode, "add to invoke.yaml" in again.stderr) == (0, False), again.stderr
    before = tree(where)
    other = installed.run(where, *dev[:4], "--host", "{slug}.example.com", *answers[2:])
    assert other.returncode == 2
    assert "invoke.yaml has an environment dev of another host\n" in other.stderr
    renamed = installed.run(where, "init", "--yes", "--project", "other")
    assert renamed.returncode == 2
    assert "--project 'other': invoke.yaml says mine\n" in renamed.stderr
    assert tree(where) == before


def test_projects_have_ports_of_their_own(installed: Installed, tmp_path: Path) -> None:
    ports: list[int] = []
    for name in ("acme", "globex"):
        where = repository(tmp_path / name, {})
        assert installed.run(where, "init", "--yes").returncode == 0
        ports += settings_of(where)["platform"].values()
    assert len(set(ports)) == 6
    assert max(ports) < 32768


def test_it_is_refused_where_it_cannot_be(installed: Installed, inv: Inv, tmp_path: Path) -> None:
    nowhere = installed.run(tmp_path, "init", "--yes")
    assert nowhere.returncode == 2
    assert "is not a git repository\n  hint: make it one: git init\n" in nowhere.stderr
    here = inv(ROOT, "init", "--yes")
    assert here.returncode == 2
    assert "this is a checkout of the suite" in here.stderr
    wrong = installed.run(repository(tmp_path / "a", {}), "init", "--yes", "--wheel", "x.whl")
    assert (wrong.returncode, "there is no file x.whl" in wrong.stderr) == (2, True)


def test_tasks_for_the_suite_alone_say_so(made: Path, installed: Installed) -> None:
    for task in ("test", "ci.local"):
        done = installed.run(made, task)
        assert done.returncode == 2
        assert "the suite's own" in done.stderr
    shown = [installed.run(made, "--complete", "--", word).stdout.split() for word in ("te", "ci.")]
    assert shown == [[], ["ci.explain", "ci.image"]]
    assert "upgrade" in installed.run(made, "--complete", "--", "").stdout.split()


def test_a_folder_that_settings_name_must_be_there(made: Path, installed: Installed) -> None:
    shutil.rmtree(made / "docroot" / "themes")
    done = installed.run(made, "build", "--dry-run")
    assert done.returncode == 2
    assert "there is no folder docroot/themes, which paths.themes names" in done.stderr


def test_a_job_runs_the_package_that_its_checkout_names(tmp_path: Path) -> None:
    where = repository(tmp_path / "acme", {f"{OWN}/requirements.lock": "", "inv": "echo ran $*\n"})
    (where / "inv").chmod(0o755)
    argv = ["sh", str(ROOT / "docker" / "ci" / "inv.sh"), "deploy", "--env", "dev"]
    done = subprocess.run(argv, cwd=where, capture_output=True, text=True, check=False)
    assert done.stdout == "ran deploy --env dev\n"


# -- inv upgrade ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def newer(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of a later version, whose wrapper and changelog are other ones."""
    scratch = tmp_path_factory.mktemp("newer")
    shutil.copytree(source, scratch / "checkout", symlinks=True)

    def change(name: str, before: str, after: str) -> None:
        path = scratch / "checkout" / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))

    change("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"')
    change("CHANGELOG.md", "### Added\n", "### Added\n\n- Something that is new.\n")
    change("inv", "minimum=11", "minimum=12")
    return build(scratch / "checkout", "wheel", scratch / "wheel")


def test_an_upgrade_shows_the_news_and_renews_the_suites_own_files(
    made: Path, installed: Installed, newer: Path
) -> None:
    before = tree(made)
    planned = installed.run(made, "upgrade", "--wheel", str(newer), "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "- Something that is new." in planned.stderr
    assert tree(made) == before

    done = installed.run(made, "upgrade", "--wheel", str(newer))
    assert done.returncode == 0, done.stderr
    assert done.stdout == planned.stdout
    assert re.search(r"replace  inv  \(1 lines more, 1 less\)", done.stdout)
    # Interrupted before its last steps it has left a ./inv that runs the version before.
    written = [line.split()[1] for line in done.stdout.splitlines()[1:]]
    assert written[-2:] == [
        f"{OWN}/requirements.lock",
        f"{OWN}/mautic_multidev-0.1.0-py3-none-any.whl",
    ]
    after = tree(made)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {
        "inv",
        *(f"{OWN}/{name}" for name in ("gitlab-ci.yml", "requirements.lock", newer.name)),
        f"{OWN}/mautic_multidev-0.1.0-py3-none-any.whl",
    }
    checksum = hashlib.sha256(newer.read_bytes()).hexdigest()
    assert (
        f"mautic-multidev==0.2.0 \\\n    --hash=sha256:{checksum}"
        in (made / OWN / "requirements.lock").read_text()
    )


def test_an_upgrade_to_the_version_that_is_there_has_nothing_to_do(
    made: Path, installed: Installed, wheel: Path
) -> None:
    before = tree(made)
    done = installed.run(made, "upgrade", "--wheel", str(wheel))
    assert done.stdout == "upgrade acme from mautic-multidev 0.1.0 to 0.1.0: nothing to do\n"
    assert tree(made) == before


def test_an_upgrade_keeps_what_somebody_has_changed(
    made: Path, installed: Installed, newer: Path
) -> None:
    mine = (made / "inv").read_text() + "# mine\n"
    (made / "inv").write_text(mine)
    done = installed.run(made, "upgrade", "--wheel", str(newer))
    assert done.returncode == 0, done.stderr
    assert (made / "inv").read_text() == mine
    assert re.search(r"keep\s+inv\s+\(somebody has changed it", done.stdout)
    assert "-minimum=11 # Python 3.11" in done.stderr


def test_an_upgrade_needs_a_project(installed: Installed, newer: Path, tmp_path: Path) -> None:
    where = repository(tmp_path / "acme", {})
    done = installed.run(where, "upgrade", "--wheel", str(newer))
    assert done.returncode == 2
    # It is named as it was called.
    assert f"hint: {installed.program} init makes a project" in done.stderr
