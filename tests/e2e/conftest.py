"""Fixtures of the walks that begin with the suite as a package."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import docker
import pytest
import yaml

from tests.support.local import World
from tests.support.package import Adopt, Installed, build, install, repository
from tests.support.suite import Inv


@pytest.fixture(scope="session")
def installed(_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The package, installed from a wheel."""
    scratch = tmp_path_factory.mktemp("package")
    shutil.copytree(_project, scratch / "checkout", symlinks=True)
    (scratch / "home").mkdir()
    wheel = build(scratch / "checkout", "wheel", scratch)
    return install(wheel, scratch / "venv", Inv(scratch / "home", scratch))


@pytest.fixture
def adopt(engine: docker.DockerClient, installed: Installed, tmp_path: Path) -> Iterator[Adopt]:
    """Makes projects of repositories with these files, by the package, and removes them."""
    with ExitStack() as made:

        def adopt(files: dict[str, str]) -> World:
            project = f"mt{secrets.token_hex(3)}"
            where = repository(tmp_path / project, files)
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
            made.callback(found.remove)
            return found

        yield adopt
