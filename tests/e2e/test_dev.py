"""inv dev on a real engine: what is saved is served, and leaving goes back to what was deployed.

By default the stand-in of Mautic serves it, with a plugin that Mautic itself takes as well:
MAUTIC_CODE_IMAGE names an image with Mautic's code, MAUTIC_CODE_DEBIAN and MAUTIC_CODE_PHP what it
runs on. The times are printed (pytest -s).
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import docker
import pytest

from tests.support.local import World, make_world, until_says
from tests.support.realnode.bed import mautic_images
from tests.support.suite import commit_all, git

MAIN = "main"
PATH = "/acme/hello"
OURS = "docker/mautic/plugins/AcmeBundle"
PAGE = "docker/mautic/themes/acme/html/hello.html.twig"
STYLE = "docker/mautic/themes/acme/css/hello.css"
CONTROLLER = f"{OURS}/Controller/HelloController.php"
DEADLINE_SECONDS = 120.0
"""When a change that is not served has failed; how soon it is served is printed."""

BUNDLE = r"""<?php
namespace MauticPlugin\AcmeBundle;
use Mautic\PluginBundle\Bundle\PluginBundleBase;
class AcmeBundle extends PluginBundleBase
{
}
"""
CONFIG = r"""<?php
$hello = ['path' => '/acme/hello', 'controller' => CONTROLLER];
return ['name' => 'Acme', 'version' => '1.0.0', 'routes' => ['public' => ['acme' => $hello]]];
""".replace("CONTROLLER", r"'MauticPlugin\AcmeBundle\Controller\HelloController::helloAction'")
SERVICES = r"""<?php
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;
return static function (ContainerConfigurator $configurator): void {
    $services = $configurator->services()->defaults()->autowire()->autoconfigure()->public();
    $services->load('MauticPlugin\\AcmeBundle\\', '../{Controller,Service}/*.php');
};
"""
EXTENSION = r"""<?php
namespace MauticPlugin\AcmeBundle\DependencyInjection;
use Symfony\Component\Config\FileLocator;
use Symfony\Component\DependencyInjection\ContainerBuilder;
use Symfony\Component\DependencyInjection\Extension\Extension;
use Symfony\Component\DependencyInjection\Loader\PhpFileLoader;
class AcmeExtension extends Extension
{
    public function load(array $configs, ContainerBuilder $container): void
    {
        $loader = new PhpFileLoader($container, new FileLocator(__DIR__.'/../Config'));
        $loader->load('services.php');
    }
}
"""
HELLO = r"""<?php
namespace MauticPlugin\AcmeBundle\Controller;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpKernel\Attribute\AsController;
use Twig\Environment;
#[AsController]
final class HelloController
{
    public function __construct(private readonly Environment $twig)
    {
    }

    public function helloAction(): Response
    {
        return new Response('php one, '.$this->twig->render('@themes/acme/html/hello.html.twig'));
    }
}
"""
GREETER = r"""<?php
namespace MauticPlugin\AcmeBundle\Service;
final class Greeter
{
    public function greet(): string
    {
        return 'a new service';
    }
}
"""
GREETED = (
    HELLO.replace("use Twig\\Env", "use MauticPlugin\\AcmeBundle\\Service\\Greeter;\nuse Twig\\Env")
    .replace("Environment $twig)", "Environment $twig, private readonly Greeter $greeter)")
    .replace("'php one, '", "$this->greeter->greet().', '")
)


class DevWorld(World):
    """An environment with a plugin and a theme, of Mautic itself if that is there."""

    def settings(self, **platform: Any) -> dict[str, Any]:
        """Return the settings of a run."""
        return {**super().settings(**platform), "images": mautic_images()}

    def tag(self) -> str:
        """Return the tag that is deployed: a commit's own, and of Mautic's code if that is set."""
        (newest, *_) = json.loads(self.ok("releases", "--format", "json").stdout)
        return str(newest["tag"])

    def save(self, path: str, text: str) -> None:
        """Save a file as editors do: another one takes its place."""
        place = self.checkout / path
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f"{place.name}~")
        fresh.write_text(text)
        fresh.replace(place)

    def served(self, text: str, path: str = PATH) -> float:
        """Wait until a page is served with a text in it; return the seconds that took."""
        started = time.monotonic()
        while text not in (page := self.get(MAIN, path)).text:
            assert time.monotonic() - started < DEADLINE_SECONDS, f"{text!r} not in {page.text!r}"
            time.sleep(0.1)
        assert page.status_code == 200
        return time.monotonic() - started

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
    files = {f"{OURS}/AcmeBundle.php": BUNDLE, f"{OURS}/Config/config.php": CONFIG}
    files |= {f"{OURS}/Config/services.php": SERVICES, CONTROLLER: HELLO}
    files |= {f"{OURS}/DependencyInjection/AcmeExtension.php": EXTENSION}
    for path, text in {**files, PAGE: "twig one", STYLE: "/* one */"}.items():
        made.save(path, text)
    (made.checkout / PAGE).parents[1].joinpath("config.json").write_text(json.dumps({"name": "A"}))
    commit_all(checkout, "a plugin and a theme")
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
def dev(world: DevWorld, request: pytest.FixtureRequest) -> Iterator[Popen[str]]:
    """`inv dev`, which shows the tree; it is ended by Ctrl-C if it still runs."""
    git(world.checkout, "checkout", "--quiet", "--", ".")
    process = world.start("dev", *getattr(request, "param", ()))
    try:
        until_says(process, "shows the working tree")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_SECONDS)
        git(world.checkout, "checkout", "--quiet", "--", ".")
        git(world.checkout, "clean", "--quiet", "-fd", "docker/mautic")


def _is_as_deployed(world: DevWorld) -> None:
    page = world.get(MAIN, PATH)
    assert (page.status_code, page.text) == (200, "php one, twig one")
    assert world.volumes() == []
    assert world.ok("drift").stdout == ""
    plan = json.loads(
        world.ok("deploy", "--tag", world.tag(), "--dry-run", "--format", "json").stdout
    )
    assert plan["steps"] == []


def test_what_is_saved_is_served_and_ctrl_c_goes_back(world: DevWorld, dev: Popen[str]) -> None:
    took = {}
    world.served("php one, twig one")
    images = {name: item.image.id for name, item in world.containers(MAIN).items()}
    world.save(CONTROLLER, HELLO.replace("php one", "php two"))
    took["PHP"] = world.served("php two, twig one")
    world.save(PAGE, "twig two")
    took["Twig"] = world.served("php two, twig two")
    world.save(STYLE, "/* two */")
    took["a style sheet"] = world.served("/* two */", "/themes/acme/css/hello.css")
    world.save(f"{OURS}/Service/Greeter.php", GREETER)
    world.save(CONTROLLER, GREETED)
    took["a new service"] = world.served("a new service, twig two")
    world.save(f"{OURS}/Config/config.php", CONFIG.replace(PATH, f"{PATH}/again"))
    took["a new route"] = world.served("a new service, twig two", f"{PATH}/again")
    print({name: round(seconds, 2) for name, seconds in took.items()})  # noqa: T201 - for -s
    dev.send_signal(signal.SIGINT)
    _, said = dev.communicate(timeout=DEADLINE_SECONDS)
    assert dev.returncode == 0, said
    (world.checkout / OURS / "Service" / "Greeter.php").unlink()
    git(world.checkout, "checkout", "--quiet", "--", ".")
    assert {name: item.image.id for name, item in world.containers(MAIN).items()} == images
    _is_as_deployed(world)


def test_what_cannot_be_compiled_is_told_and_served_once_it_is_mended(
    world: DevWorld, dev: Popen[str]
) -> None:
    world.save(f"{OURS}/Config/services.php", "<?php throw new RuntimeException('unfinished');")
    said = until_says(dev, "the cache cannot be compiled")
    assert f"shown: {OURS.replace('docker/mautic', 'docroot')}/Config/services.php" in said
    world.served("php one, twig one")
    world.save(f"{OURS}/Config/services.php", SERVICES)
    until_says(dev, "compiled (")
    world.served("php one, twig one")


def test_a_second_run_and_a_deploy_meet_the_first(world: DevWorld, dev: Popen[str]) -> None:
    second = world.run("dev")
    assert second.returncode == 4
    assert "is held by" in second.stderr
    assert world.run("dev", "--stop").returncode == 4


@pytest.mark.parametrize("undo", [("dev", "--stop"), ("deploy", "--tag")])
def test_a_killed_run_is_undone(world: DevWorld, dev: Popen[str], undo: tuple[str, ...]) -> None:
    world.save(PAGE, "twig of a killed run")
    world.served("twig of a killed run")
    dev.kill()
    dev.wait()
    assert world.volumes()
    git(world.checkout, "checkout", "--quiet", "--", ".")
    world.ok(*undo, *([world.tag()] if undo[0] == "deploy" else []))
    _is_as_deployed(world)


def test_another_branch_is_never_shown(world: DevWorld, dev: Popen[str]) -> None:
    git(world.checkout, "checkout", "--quiet", "-b", "other")
    try:
        world.save(PAGE, "twig of the other branch")
        _, said = dev.communicate(timeout=DEADLINE_SECONDS)
        assert dev.returncode == 3
        assert "other is checked out now, not main" in said
    finally:
        git(world.checkout, "checkout", "--quiet", "--force", MAIN)
        subprocess.run(["git", "-C", str(world.checkout), "branch", "-qD", "other"], check=True)
    _is_as_deployed(world)


@pytest.mark.parametrize("dev", [("--xdebug",)], indirect=True)
def test_xdebug_is_there_while_it_is_asked_for(world: DevWorld, dev: Popen[str]) -> None:
    image = world.containers(MAIN)["fpm"].image
    try:
        asked = world.containers(MAIN)["fpm"].exec_run(["php", "-i"]).output.decode()
        assert "xdebug.client_host => host.docker.internal" in asked
        world.served("php one, twig one")
        dev.send_signal(signal.SIGINT)
        dev.communicate(timeout=DEADLINE_SECONDS)
        assert dev.returncode == 0
        _is_as_deployed(world)
    finally:
        for name in image.tags:
            world.engine.images.remove(name, force=True)
