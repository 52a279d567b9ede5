"""A plugin and a theme that a person works on while `inv dev` shows them, on any target."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tests.support.local import until_says
from tests.support.suite import commit_all, git

PATH = "/acme/hello"
OURS = "plugins/AcmeBundle"
PAGE = "themes/acme/html/hello.html.twig"
STYLE = "themes/acme/css/hello.css"
SERVED_STYLE = f"/{STYLE}"
CONTROLLER = f"{OURS}/Controller/HelloController.php"
DEPLOYED = "php one, twig one"
"""What the page says as it is committed."""
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

READY = "ready to compile"


@dataclass(frozen=True)
class Editor:
    """Saves files in a checkout, and looks at the site that is to show them.

    Attributes:
        checkout: the checkout.
        get: returns the status and text of a path of the site.
        folder: what plugins and themes lie in; empty for the checkout itself.
    """

    checkout: Path
    get: Callable[[str], tuple[int, str]]
    folder: str = "docker/mautic"

    def begin(self) -> None:
        """Commit a plugin with a page, and a theme, that Mautic itself takes as well."""
        files = {f"{OURS}/AcmeBundle.php": BUNDLE, f"{OURS}/Config/config.php": CONFIG}
        files |= {f"{OURS}/Config/services.php": SERVICES, CONTROLLER: HELLO}
        files |= {f"{OURS}/DependencyInjection/AcmeExtension.php": EXTENSION}
        files |= {PAGE: "twig one", STYLE: "/* one */"}
        files["themes/acme/config.json"] = json.dumps({"name": "A"})
        for path, text in files.items():
            self.save(path, text)
        commit_all(self.checkout, "a plugin and a theme")

    def save(self, path: str, text: str) -> None:
        """Save a file as editors do: another one takes its place."""
        place = self.checkout / self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = place.with_name(f"{place.name}~")
        fresh.write_text(text)
        fresh.replace(place)

    def undo(self) -> None:
        """Take back what is not committed."""
        git(self.checkout, "checkout", "--quiet", "--", ".")
        git(self.checkout, "clean", "--quiet", "-fd", self.folder or ".")

    def served(self, text: str, path: str = PATH) -> float:
        """Wait until a page is served with a text in it; return the seconds that took."""
        started = time.monotonic()
        while text not in (page := self.get(path))[1]:
            assert time.monotonic() - started < DEADLINE_SECONDS, f"{text!r} not in {page}"
            time.sleep(0.1)
        assert page[0] == 200
        return time.monotonic() - started

    def change_all(self) -> dict[str, float]:
        """Save a file of each kind, one after the other; return how soon each was served."""
        took = {}
        self.served(DEPLOYED)
        self.save(CONTROLLER, HELLO.replace("php one", "php two"))
        took["PHP"] = self.served("php two, twig one")
        self.save(PAGE, "twig two")
        took["Twig"] = self.served("php two, twig two")
        self.save(STYLE, "/* two */")
        took["a style sheet"] = self.served("/* two */", SERVED_STYLE)
        self.save(f"{OURS}/Service/Greeter.php", GREETER)
        self.save(CONTROLLER, GREETED)
        took["a new service"] = self.served("a new service, twig two")
        self.save(f"{OURS}/Config/config.php", CONFIG.replace(PATH, f"{PATH}/again"))
        took["a new route"] = self.served("a new service, twig two", f"{PATH}/again")
        return {name: round(seconds, 2) for name, seconds in took.items()}


@contextlib.contextmanager
def showing(process: Popen[str]) -> Iterator[str]:
    """Wait until an `inv dev` shows the tree, of which nothing differs, and is ready to compile.

    It yields what was said; Ctrl-C ends it.
    """
    try:
        said = until_says(process, "shows the working tree")
        if READY not in said:
            said += until_says(process, READY)
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE_SECONDS)


def leave(process: Popen[str]) -> None:
    """End an `inv dev` by Ctrl-C, which must go well."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, said
