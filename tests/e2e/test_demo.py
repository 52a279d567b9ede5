"""`inv demo`: one command, and a page that a browser shows without a missing piece."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import docker
import pytest

from tests.support.browser import answers, chromium, complaints
from tests.support.local import World, make_world
from tests.support.suite import ROOT

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

DEMO_SECONDS = 1500.0
"""With nothing in the engine's cache the stand-ins are made first."""

SCREENSHOT = ROOT / "artifacts" / "screenshots" / "login.png"
"""Kept out of git with everything else in artifacts/."""


@dataclass
class Shown:
    """A demonstration that has run.

    Attributes:
        world: where.
        settings: its settings.
        done: what it said.
    """

    world: World
    settings: dict[str, object]
    done: CompletedProcess[str]

    @property
    def url(self) -> str:
        """The URL that it printed last."""
        return self.done.stdout.splitlines()[-1]

    def again(self, *args: str) -> CompletedProcess[str]:
        """Run the suite with the same settings."""
        world = self.world
        return world.inv(world.checkout, *args, settings=self.settings, timeout=DEMO_SECONDS)


@pytest.fixture(scope="module")
def shown(
    engine: docker.DockerClient, _project: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    """The demonstration, run in a fresh checkout with a fresh HOME."""
    checkout = tmp_path_factory.mktemp("demo") / "check out"
    shutil.copytree(_project, checkout, symlinks=True)
    world = make_world(engine, checkout, tmp_path_factory.mktemp("scratch"), _ports())
    settings = world.settings(mail_port=_ports()())
    try:
        done = world.inv(checkout, "demo", settings=settings, timeout=DEMO_SECONDS)
        assert done.returncode == 0, done.stderr
        yield Shown(world, settings, done)
    finally:
        world.remove()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as chrome:
        yield chrome


def test_it_ends_with_the_url_and_says_how_to_remove_it(shown: Shown) -> None:
    assert shown.url == f"http://main.localhost:{shown.world.http_port}"
    table = shown.done.stdout.splitlines()
    assert table[0].split()[:2] == ["branch", "state"]
    assert [row.split()[:2] for row in table[1:-1]] == [["main", "running"]]
    assert "./inv cleanup --branch main" in shown.done.stderr
    assert shown.done.stderr.count("log in as admin with the password ") == 1
    record = json.loads((shown.world.checkout / "build.json").read_text())
    assert set(record["images"]) == {"mautic", "nginx"}


def test_a_browser_shows_the_login_page_whole(shown: Shown, browser: Chrome) -> None:
    """By the host name that was printed: a browser knows *.localhost without any DNS."""
    link = shown.again("url", "--link", "1h")
    assert link.returncode == 0, link.stderr
    browser.get(link.stdout.strip())
    browser.get(f"{shown.url}/s/login")
    assert browser.find_element("css selector", "input[type=password]").is_displayed()
    SCREENSHOT.parent.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(SCREENSHOT))

    answered = answers(browser)
    assert all(url.startswith(f"{shown.url}/") for url in answered), answered
    assert {"Document", "Stylesheet", "Script"} <= {kind for kind, _ in answered.values()}, answered
    assert {url: status for url, (_, status) in answered.items() if status >= 400} == {}
    assert complaints(browser) == []


def test_again_it_finds_its_work_done_and_after_the_removal_does_it_anew(shown: Shown) -> None:
    plan = shown.again("demo", "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert plan.stdout.splitlines()[0] == "demonstrate main on this machine:"

    def demonstrate() -> CompletedProcess[str]:
        done = shown.again("demo")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == shown.url
        return done

    assert "log in as admin" not in demonstrate().stderr
    record = json.loads((shown.world.checkout / "build.json").read_text())
    assert "built" not in {image["action"] for image in record["images"].values()}

    lines = shown.done.stderr.splitlines()
    command = shlex.split(lines[lines.index("remove it again:") + 1])
    removed = shown.again(*command[1:])
    assert removed.returncode == 0, removed.stderr
    assert shown.world.objects("main") == []
    assert "log in as admin" in demonstrate().stderr


def _ports() -> Callable[[], int]:
    def find() -> int:
        with socket.create_server(("127.0.0.1", 0)) as held:
            port: int = held.getsockname()[1]
        return port

    return find
