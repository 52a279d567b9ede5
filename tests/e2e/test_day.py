"""A developer's day: from a wheel and an empty directory, what a person types, in that order.

What each command does has tests of its own. Here it is whether the day goes on: exit codes, the
words that tell what to do next, what is served, and how much is printed.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.support.local import LINES_MAX, World, printed, until_says
from tests.support.package import STANDINS, Adopt, Installed
from tests.support.suite import commit_all, git
from tests.support.workshop import (
    CONTROLLER,
    DEPLOYED,
    HELLO,
    OURS,
    PAGE,
    SERVED_STYLE,
    STYLE,
    Editor,
    leave,
    showing,
)

INV = "./inv"
"""As a person calls it, and is told to."""
LONG = ("console", "logs", "plan")
"""What others have written, and a plan, is as long as it is."""
ENV = {**STANDINS, "INVOKE_ENVIRONMENTS_LOCAL_PATIENCE_STABILITY_SECONDS": "1"}


@dataclass(frozen=True)
class Desk:
    """A person's terminal in their project."""

    world: World
    installed: Installed

    @property
    def here(self) -> Path:
        """The project."""
        return self.world.checkout

    def inv(self, *args: str, code: int = 0, says: str = "") -> CompletedProcess[str]:
        """Run the project's own ./inv: how it ends, what it says, and how much, in a pipe."""
        done = self.installed.run(self.here, *args, program=INV, env=ENV)
        told = f"inv {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == code, told
        assert says in done.stdout + done.stderr, told
        assert "Traceback" not in done.stderr, told
        if args and args[0] not in LONG and "--dry-run" not in args:
            assert len(printed(done)) <= LINES_MAX, told
        return done

    def pipe(self, line: str) -> CompletedProcess[str]:
        """Run a line of shell; its stderr ends with how each program of the pipe has ended."""
        argv = ["bash", "-c", f"{line}; echo ${{PIPESTATUS[@]}} >&2"]
        env = self.installed.inv.environ(ENV)
        return subprocess.run(
            argv, cwd=self.here, env=env, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def editor(self) -> Editor:
        """Saves files, and looks at the site."""

        def get(path: str) -> tuple[int, str]:
            page = self.world.get("main", path)
            return page.status_code, page.text

        return Editor(self.here, get, folder="")

    @property
    def url(self) -> str:
        """Where the site of the checkout is to be."""
        return f"http://main.{self.world.project}.localhost:{self.world.http_port}"

    def images(self) -> dict[str, str]:
        """Return what the services run."""
        found = self.world.containers("main")
        return {name: item.image.id for name, item in found.items()}


@pytest.fixture
def desk(adopt: Adopt, installed: Installed) -> Desk:
    """A project that `inv init` has just made of an empty repository."""
    return Desk(adopt({}), installed)


def test_a_day(desk: Desk) -> None:
    first = begin(desk)
    go_online(desk)
    images = desk.images()
    work(desk)
    assert desk.images() == images
    make_mistakes(desk)
    assert desk.images() == images
    go_on_and_back(desk, first)
    meet_other_branches(desk, first)
    rest(desk)
    clean_up(desk)


def begin(desk: Desk) -> str:
    """Look around, and commit a plugin and a theme; return the commit."""
    inv = desk.inv
    assert "making .venv from requirements.lock" in inv("--version", says="mautic-multidev").stderr
    inv("deploy", code=2, says="commit something first")
    desk.editor.begin()
    overview = inv().stdout
    assert "  ./inv deploy" in overview
    assert "./inv TASK --help" in overview
    inv("deploi", code=2, says="did you mean deploy?")
    inv("list", says="./inv deploy")
    inv("status", code=2, says="./inv deploy")
    return git(desk.here, "rev-parse", "HEAD")[:8]


def go_online(desk: Desk) -> None:
    """Deploy, and look at what runs."""
    inv = desk.inv
    inv("build", says="built")
    deployed = inv("deploy", says="log in as admin with the password")
    assert deployed.stdout == f"{desk.url}\n"
    desk.editor.served(DEPLOYED)
    assert "password" not in inv("deploy", says="everything is as it should be").stderr
    assert inv("url").stdout == deployed.stdout
    inv("list", says="running")
    inv("status", says="healthy")
    assert "mautic:segments:update" in inv("console", "--", "list").stdout
    inv("console", "--", "mautic:no-such-command", code=1, says="is not defined")
    logs = inv("logs", "--since", "10m").stdout.splitlines()
    assert {"web-1", "fpm-1", "worker-1", "database-1"} <= {line.split(" ")[0] for line in logs}
    inv("logs", "--since", "soon", code=2, says="90s")
    closed = desk.pipe("./inv logs | head -n 1")
    assert len(closed.stdout.splitlines()) == 1
    assert closed.stderr in {"141 0\n", "0 0\n"}


def work(desk: Desk) -> None:
    """Save files, see them, and leave."""
    editor = desk.editor
    dev = desk.installed.start(desk.here, "dev", program=INV, env=ENV)
    with showing(dev):
        editor.save(STYLE, "/* two */")
        editor.served("/* two */", SERVED_STYLE)
        editor.save(PAGE, "twig two")
        editor.served("php one, twig two")
        editor.save(CONTROLLER, HELLO.replace("php one", "php two"))
        editor.served("php two, twig two")
        editor.save("translations/overrides/en_US/CoreBundle/messages.ini", 'a.b="c"')
        until_says(dev, "compiled (")
        desk.inv("dev", code=4, says="is held by")
        leave(dev)
    editor.served(DEPLOYED)


def make_mistakes(desk: Desk) -> None:
    """Save what cannot be built: it is told where."""
    class_ = "<?php\nclass A {\n  function x( { }\n}\n"
    for path, text, line in (("config/cron.json", "{", 1), (f"{OURS}/Broken.php", class_, 3)):
        desk.editor.save(path, text)
        for task in ("build", "deploy"):
            desk.inv(task, code=1, says=f"error: {path}:{line}: ")
        (desk.here / path).unlink()


def go_on_and_back(desk: Desk, first: str) -> None:
    """Deploy what was worked on, and go back to the first release."""
    inv, editor = desk.inv, desk.editor
    second = commit_all(desk.here, "two")[:8]
    page = inv("plan", says=f"deploy main to local ({second})").stdout
    assert page.splitlines()[-1] == "infrastructure: none, the environment has no stack"
    inv("deploy", says="what is missing of its images is built first")
    editor.served("php two, twig two")
    assert [line.split()[0] for line in inv("releases").stdout.splitlines()[1:]] == [second, first]
    unknown = inv("rollback", "--to", "0badc0de", code=2, says="no release 0badc0de").stderr
    assert {first, second} <= {*unknown.replace(",", " ").replace(";", " ").split()}
    inv("rollback", "--to", second, code=2, says=f"{second} is the current release of main")
    inv("rollback", "--to", first)
    editor.served(DEPLOYED)
    inv("drift", says="is as it was deployed")
    inv("queue", says="failed")


def meet_other_branches(desk: Desk, first: str) -> None:
    """Name branches that are not checked out, rightly and wrongly."""
    inv = desk.inv
    git(desk.here, "branch", "feature/login", first)
    wrong = inv("deploy", "--branch", "feature/logn", code=2, says="did you mean feature/login?")
    assert "in this repository, which has no remote" in wrong.stderr
    inv("deploy", "--branch", "feature/login", "--dry-run", says="is checked out")
    inv("cleanup", "--branch", "mian", says="did you mean main?")


def rest(desk: Desk) -> None:
    """Put it to sleep: it is woken, and wakes by itself."""
    inv, editor = desk.inv, desk.editor
    inv("sleep", says="asleep; ./inv wake ")
    inv("list", says="asleep")
    inv("wake", says=desk.url)
    editor.served(DEPLOYED)
    inv("sleep")
    assert "mautic:segments:update" in inv("console", "--", "list").stdout
    editor.served(DEPLOYED)


def clean_up(desk: Desk) -> None:
    """Leave nothing."""
    inv = desk.inv
    assert desk.pipe("./inv completion bash --show | bash -n").stderr == "0 0\n"
    inv("completion", "bash", says="bash-completion/completions/inv: written")
    inv("gc", "--dry-run")
    inv("cleanup", "--branch", "main", says="removed")
    assert desk.world.objects("main") == []
    inv("cleanup", "--branch", "main", says="nothing to remove")
    inv("list", says="there are no environments")
