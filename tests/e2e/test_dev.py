"""inv dev on a real engine: what is saved is served, and leaving goes back to what was deployed.

By default the stand-in of Mautic serves it, with a plugin that Mautic itself takes as well:
MAUTIC_CODE_IMAGE names an image with Mautic's code, MAUTIC_CODE_DEBIAN and MAUTIC_CODE_PHP what it
runs on. The times are printed (pytest -s).
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import docker
import pytest

from tests.support.local import World, make_world, until_says
from tests.support.realnode.bed import mautic_images
from tests.support.suite import git
from tests.support.workshop import (
    CONFIG,
    DEADLINE_SECONDS,
    DEPLOYED,
    OURS,
    PAGE,
    PATH,
    SERVICES,
    STYLE,
    Editor,
    leave,
    showing,
)

MAIN = "main"


class DevWorld(World):
    """An environment with a plugin and a theme, of Mautic itself if that is there."""

    def settings(self, **platform: Any) -> dict[str, Any]:
        """Return the settings of a run."""
        return {**super().settings(**platform), "images": mautic_images()}

    def tag(self) -> str:
        """Return the tag that is deployed: a commit's own, and of Mautic's code if that is set."""
        (newest, *_) = json.loads(self.ok("releases", "--format", "json").stdout)
        return str(newest["tag"])

    @property
    def editor(self) -> Editor:
        """Who works on the plugin and the theme."""

        def get(path: str) -> tuple[int, str]:
            page = self.get(MAIN, path)
            return page.status_code, page.text

        return Editor(self.checkout, get)

    def volumes(self) -> list[str]:
        """Return the names of the volumes that hold a tree's files."""
        return [name for name in self.objects(MAIN) if "_dev-" in name]


@pytest.fixture(scope="module")
def world(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevWorld]:
    """A checkout with a plugin and a theme, deployed."""
    checkout = tmp_path_factory.mktemp("dev") / "checkout"
    shutil.copytree(_project, checkout, symlinks=True)
    found = make_world(engine, checkout, tmp_path_factory.mktemp("scratch"), _ports())
    made = DevWorld(**vars(found))
    made.editor.begin()
    try:
        made.ok("build")
        made.ok("deploy")
        yield made
    finally:
        made.remove()


def _ports() -> Callable[[], int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    found = iter([each.getsockname()[1] for each in held])
    for each in held:
        each.close()
    return lambda: next(found)


@pytest.fixture
def editor(world: DevWorld) -> Editor:
    """Who works on the plugin and the theme."""
    return world.editor


@pytest.fixture
def dev(world: DevWorld, editor: Editor, request: pytest.FixtureRequest) -> Iterator[Popen[str]]:
    """`inv dev`, which shows the tree; it is ended by Ctrl-C if it still runs."""
    process = world.start("dev", *getattr(request, "param", ()))
    try:
        with showing(process):
            yield process
    finally:
        editor.undo()


def _is_as_deployed(world: DevWorld) -> None:
    assert world.editor.get(PATH) == (200, DEPLOYED)
    assert world.volumes() == []
    assert world.ok("drift").stdout == ""
    plan = json.loads(
        world.ok("deploy", "--tag", world.tag(), "--dry-run", "--format", "json").stdout
    )
    assert plan["steps"] == []


def test_what_is_saved_is_served_and_ctrl_c_goes_back(
    world: DevWorld, editor: Editor, dev: Popen[str]
) -> None:
    images = {name: item.image.id for name, item in world.containers(MAIN).items()}
    print(editor.change_all())  # noqa: T201 - for -s
    leave(dev)
    editor.undo()
    assert {name: item.image.id for name, item in world.containers(MAIN).items()} == images
    _is_as_deployed(world)


def test_what_cannot_be_compiled_is_told_and_served_once_it_is_mended(
    editor: Editor, dev: Popen[str]
) -> None:
    editor.save(f"{OURS}/Config/services.php", "<?php throw new RuntimeException('unfinished');")
    said = until_says(dev, "the one before is used, and /s/login answers")
    assert f"shown: docroot/{OURS}/Config/services.php" in said
    editor.served(DEPLOYED)
    editor.save(f"{OURS}/Config/services.php", SERVICES)
    until_says(dev, "compiled (")
    editor.served(DEPLOYED)


def test_pages_that_fail_until_a_mistake_is_mended_are_told(
    editor: Editor, dev: Popen[str]
) -> None:
    editor.save(f"{OURS}/Config/config.php", "<?php return [;")
    until_says(dev, "pages fail until that is mended: /s/login answers 500")
    editor.save(f"{OURS}/Config/config.php", CONFIG)
    until_says(dev, "compiled (")
    editor.served(DEPLOYED)


def test_a_link_is_followed_where_it_is_shown_and_never_on_this_machine(
    world: DevWorld, editor: Editor, dev: Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "secret.css").write_text("the host's")
    css = (world.checkout / editor.folder / STYLE).parent
    (css / "out.css").symlink_to(tmp_path / "secret.css")
    until_says(dev, f"{STYLE.rpartition('/')[0]}/out.css is a link to {tmp_path}/secret.css")
    (css / "in.css").symlink_to("hello.css")
    (css.parent / "styles").symlink_to("css")
    editor.served("/* one */", "/themes/acme/styles/in.css")
    assert editor.get("/themes/acme/css/out.css")[0] == 404
    leave(dev)
    for link in (css / "out.css", css / "in.css", css.parent / "styles"):
        link.unlink()


def test_a_second_run_and_a_deploy_meet_the_first(world: DevWorld, dev: Popen[str]) -> None:
    second = world.run("dev")
    assert second.returncode == 4
    assert "is held by" in second.stderr
    assert world.run("dev", "--stop").returncode == 4
    # As it is while a change has it started anew.
    world.containers(MAIN)["worker"].stop()
    assert world.run("dev").returncode == 4


@pytest.mark.parametrize("undo", [("dev", "--stop"), ("deploy", "--tag")])
def test_a_killed_run_is_undone(
    world: DevWorld, editor: Editor, dev: Popen[str], undo: tuple[str, ...]
) -> None:
    editor.save(PAGE, "twig of a killed run")
    editor.served("twig of a killed run")
    dev.kill()
    dev.wait()
    assert world.volumes()
    editor.undo()
    world.ok(*undo, *([world.tag()] if undo[0] == "deploy" else []))
    _is_as_deployed(world)


def test_another_branch_is_never_shown(world: DevWorld, editor: Editor, dev: Popen[str]) -> None:
    git(world.checkout, "checkout", "--quiet", "-b", "other")
    try:
        editor.save(PAGE, "twig of the other branch")
        _, said = dev.communicate(timeout=DEADLINE_SECONDS)
        assert dev.returncode == 3
        assert "other is checked out now, not main" in said
    finally:
        git(world.checkout, "checkout", "--quiet", "--force", MAIN)
        subprocess.run(["git", "-C", str(world.checkout), "branch", "-qD", "other"], check=True)
    _is_as_deployed(world)


@pytest.mark.parametrize("dev", [("--xdebug",)], indirect=True)
def test_xdebug_is_there_while_it_is_asked_for(
    world: DevWorld, editor: Editor, dev: Popen[str]
) -> None:
    image = world.containers(MAIN)["fpm"].image
    try:
        asked = world.containers(MAIN)["fpm"].exec_run(["php", "-i"]).output.decode()
        assert "xdebug.client_host => host.docker.internal" in asked
        editor.served(DEPLOYED)
        leave(dev)
        _is_as_deployed(world)
    finally:
        for name in image.tags:
            world.engine.images.remove(name, force=True)
