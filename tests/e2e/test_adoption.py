"""The first day: from an empty repository and a wheel to a branch that is online."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import docker
import pytest
import yaml

from tests.support.local import World
from tests.support.package import Installed, build, commit, install, repository
from tests.support.suite import Inv

PLUGIN = "plugins/AcmeBundle"
STYLE = "a { color: #acacac; }\n"
THEME = "themes/acme/css/acme.css"


@pytest.fixture(scope="module")
def installed(_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    scratch = tmp_path_factory.mktemp("package")
    shutil.copytree(_project, scratch / "checkout", symlinks=True)
    (scratch / "home").mkdir()
    wheel = build(scratch / "checkout", "wheel", scratch)
    return install(wheel, scratch / "venv", Inv(scratch / "home", scratch))


@pytest.fixture
def world(engine: docker.DockerClient, installed: Installed, tmp_path: Path) -> Iterator[World]:
    """A project in an empty repository, made by the package."""
    where = repository(tmp_path / "acme", {})
    project = f"mt{secrets.token_hex(3)}"
    done = installed.run(where, "init", "--yes", "--project", project)
    assert done.returncode == 0, done.stderr
    ports = yaml.safe_load((where / "invoke.yaml").read_text())["platform"]
    found = World(
        engine=engine,
        inv=installed.inv,
        checkout=where,
        project=project,
        http_port=ports["http_port"],
        registry_port=ports["registry_port"],
        domain=f"{project}.localhost",
    )
    yield found
    found.remove()


def test_from_an_empty_repository_to_a_branch_online(world: World, installed: Installed) -> None:
    where = world.checkout

    def inv(*args: str) -> CompletedProcess[str]:
        """Run the project's own ./inv, which has made its .venv from the lock."""
        done = installed.run(
            where, *args, program=where / "inv", env={"INVOKE_IMAGES_SOURCE": "standins"}
        )
        assert done.returncode == 0, f"inv {' '.join(args)}: {done.stdout}\n{done.stderr}"
        return done

    for name, text in {
        f"{PLUGIN}/AcmeBundle.php": "<?php\n",
        f"{PLUGIN}/Assets/acme.css": STYLE,
        f"{PLUGIN}/debug.log": "nobody's business\n",
        THEME: STYLE,
        "config/parameters_local.php": "<?php $parameters = ['locale' => 'de'];\n",
    }.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text)
    with (where / ".gitignore").open("a") as ignore:
        ignore.write("*.log\n")
    commit(where)

    assert "making .venv from requirements.lock" in inv("--version").stderr
    inv("build")
    url = inv("deploy").stdout.splitlines()[-1]
    assert url == f"http://main.{world.project}.localhost:{world.http_port}"

    def served(path: str) -> str:
        answer = world.get("main", path)
        assert answer.status_code == 200, path
        return answer.text

    assert served(f"/{PLUGIN}/Assets/acme.css") == STYLE
    assert served(f"/{THEME}") == STYLE
    assert "<html" in served("/s/login")
    fpm = world.containers("main")["fpm"]
    held = fpm.exec_run(["ls", f"/var/www/html/docroot/{PLUGIN}"]).output.decode().split()
    assert held == ["AcmeBundle.php", "Assets"]

    # What git ignores is in no image, and what is not committed gives another tag.
    again = inv("build", "--dry-run").stdout
    assert "-dirty-" not in again
    assert "keep" in again
    (where / PLUGIN / "Assets" / "acme.css").write_text(f"{STYLE}b {{}}\n")
    (where / THEME).unlink()
    changed = inv("build", "--dry-run").stdout
    assert "-dirty-" in changed.splitlines()[0]
    assert "its content is new" in changed

    inv("cleanup", "--branch", "main")
    assert world.objects("main") == []
