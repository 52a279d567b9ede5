"""`nox -s bench`: the suite against the plain commands, measured side by side in one run.

Prints a table of ratios to stdout, and what is going on to stderr; `--only data` measures one part.
Exit status 1 when a limit is passed. The builds and deploys run on an engine of their own
(tests/bench/engine.py), from an empty cache, with the stand-ins and a code image of a real
release's weight; where such an engine cannot be had they are left out, loudly.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker

from tests.bench import release
from tests.bench.data import measure_data
from tests.bench.engine import NotHereError, PrivateEngine, private_engine
from tests.bench.kubernetes import FULL_TIMEOUT_SECONDS, measure_on_a_cluster
from tests.bench.measure import Row, Run, ratio, say, show, timed
from tests.support.images import debian
from tests.support.suite import PYTHON, ROOT, Inv, copy_project

LIST_ROUNDS = 15
BUILD_ROUNDS = 3
CHANGE_ROUNDS = 3
CHANGED = {"theme": "themes/acme/style.css", "plugin": "plugins/AcmeBundle/Assets/acme.js"}
DEPLOY_ROUNDS = 3
AT_ONCE_ROUNDS = 9
AT_ONCE = {"--list": 14, "names": 30, "url": 48, "build": 56, "deploy": 80}
"""How many times as much of a processor as Python's own start a command takes that changes
nothing."""
MEMORY_LIMIT_MB = 200

RELEASE = "localhost:5050/release/mautic:1"

RECORDER = """\
#!{python}
import json, os, sys
if "compose" in sys.argv and "up" in sys.argv:
    call = {{"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}
    with open({calls!r}, "a") as handle:
        handle.write(json.dumps(call) + "\\n")
os.execv({docker!r}, ["docker", *sys.argv[1:]])
"""


def measure_list(scratch: Path) -> list[Row]:
    """`./inv --list` against invoke's own with a tasks file of one task."""
    say("inv --list")
    (scratch / "tasks.py").write_text(
        '"""Tasks."""\nfrom invoke import task\n\n\n@task\ndef one(c):\n    """Do."""\n'
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(scratch)}
    ours, plain = [], []
    for _ in range(LIST_ROUNDS):
        ours.append(timed([str(ROOT / "inv"), "--list"], cwd=ROOT, env=env).seconds)
        bare = [str(ROOT / ".venv" / "bin" / "inv"), "--list"]
        plain.append(timed(bare, cwd=scratch, env=env).seconds)
    what = f"./inv --list / inv --list of one task (median of {LIST_ROUNDS})"
    return [ratio(what, statistics.median(ours), statistics.median(plain), 1.3)]


class Site:
    """A checkout, and an engine of its own to build and run it on.

    Args:
        engine: the engine.
        scratch: an empty folder.
    """

    def __init__(self, engine: PrivateEngine, scratch: Path) -> None:
        self.engine = engine
        self.checkout = copy_project(scratch / "checkout")
        home = scratch / "home"
        home.mkdir()
        self._inv = Inv(home, scratch)
        self._scratch = scratch
        self._calls = scratch / "calls"
        self.peaks: dict[str, float] = {}

    def inv(
        self,
        *args: str,
        registry: str = "mautic",
        mautic: str = RELEASE,
        record: bool = False,
    ) -> Run:
        """Run the suite's command line in the engine's network.

        Args:
            args: the task and its options.
            registry: path in the local registry that the images are pushed to.
            mautic: the image that Mautic's code comes from.
            record: note the calls of `docker compose up`.
        """
        settings: dict[str, Any] = {
            "project": "bench",
            "images": {"source": "standins", "mautic": mautic},
            "environments": {"local": {"registry": {"url": f"localhost:5050/{registry}"}}},
        }
        env = self._inv.environ({"DOCKER_HOST": self.engine.host})
        if record:
            env["PATH"] = f"{self._recorder()}{os.pathsep}{env['PATH']}"
        # As ./inv starts it: what is imported was compiled by the run before.
        argv = [word for word in self._inv.argv(*args, settings=settings) if word != "-B"]
        argv = self.engine.inside(argv)
        run = timed(argv, cwd=self.checkout, env=env)
        self.peaks[args[0]] = max(run.peak_mb, self.peaks.get(args[0], 0))
        return run

    def change(self, file: str) -> None:
        """Change one line of a file of our own, below docker/mautic; what it was makes no matter.

        Args:
            file: its path below docker/mautic.
        """
        path = self.checkout / "docker" / "mautic" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"/* {secrets.token_hex()} */\n")

    def compose_up(self) -> Callable[[], Run]:
        """Return what runs the last recorded `docker compose up` again."""
        call = json.loads(self._calls.read_text().splitlines()[-1])
        argv = self.engine.inside(["docker", *call["argv"]])
        return lambda: timed(argv, cwd=Path(call["cwd"]), env=call["env"])

    def plain_build(self, registry: str) -> float:
        """Build and push both images by plain commands, one after the other; return the seconds.

        Args:
            registry: path in the local registry that the images are pushed to.
        """
        arguments = ("--build-arg", f"DEBIAN_IMAGE={self._standin('debian')}")
        code = ("--build-context", "code=docker-image://bench-release")
        code += ("--build-context", "apt=docker/apt")
        own = ("--build-context", "own=docker-image://bench-own")
        build = ("docker", "buildx", "build", "--load", *arguments)
        stage = (*build, "--build-arg", f"MAUTIC_IMAGE={RELEASE}")
        stage += ("-f", "docker/mautic/code.Dockerfile")
        images = {name: f"localhost:5050/{registry}/{name}:plain" for name in ("mautic", "nginx")}
        commands = [
            [*stage, "--target", "release", "-t", "bench-release"],
            [*stage, "--target", "own", "-t", "bench-own"],
            [*build, *code, "--build-arg", "PHP=8.4", "-t", images["mautic"]],
            ["docker", "push", images["mautic"]],
            [*build, *code, *own, "-t", images["nginx"]],
            ["docker", "push", images["nginx"]],
        ]
        folders = ["docker/mautic"] * 3 + ["", "docker/nginx", ""]
        started = time.monotonic()
        for command, folder in zip(commands, folders, strict=True):
            self.engine.run(*command, *([folder] if folder else []), cwd=self.checkout)
        return time.monotonic() - started

    def publish_release(self) -> None:
        """Put a code image of a release's weight into the local registry, which must run."""
        context = self._scratch / "release"
        context.mkdir()
        release.write(context)
        base = f"BASE_IMAGE={self._standin('mautic')}"
        self.engine.run("docker", "build", "--build-arg", base, "--tag", RELEASE, str(context))
        self.engine.run("docker", "push", "--quiet", RELEASE)

    def _standin(self, name: str) -> str:
        listed = self.engine.run(
            "curl", "-fsS", f"http://localhost:5050/v2/standins/{name}/tags/list"
        )
        return f"localhost:5050/standins/{name}:{json.loads(listed)['tags'][0]}"

    def _recorder(self) -> Path:
        folder = self._scratch / "bin"
        folder.mkdir(exist_ok=True)
        real = subprocess.run(["which", "docker"], capture_output=True, text=True, check=True)
        script = RECORDER.format(
            python=sys.executable, calls=str(self._calls), docker=real.stdout.strip()
        )
        (folder / "docker").write_text(script)
        (folder / "docker").chmod(0o755)
        return folder


def measure_build(site: Site) -> list[Row]:
    """`inv build`, cold and with nothing to do, against plain builds and pushes."""
    say("the first inv build, which makes registry and stand-ins (not measured)")
    site.inv("build", mautic="mautic/mautic:7.2-fpm")
    site.publish_release()
    plain, cold, unchanged = [], [], []
    for number in range(BUILD_ROUNDS):
        say("cold: the plain commands")
        site.engine.empty()
        plain.append(site.plain_build(f"plain{number}"))
        say("cold: inv build")
        site.engine.empty()
        cold.append(site.inv("build", registry=f"cold{number}").seconds)
        say("nothing changed, on an emptied engine: inv build")
        site.engine.empty()
        unchanged.append(site.inv("build").seconds)
    # Whatever else the machine does, and the mirrors, only ever add: the shortest is the truest.
    best = f"(best of {BUILD_ROUNDS})"
    return [
        ratio(
            f"cold inv build / plain build + push, in sequence {best}", min(cold), min(plain), 0.75
        ),
        ratio(
            *(f"unchanged inv build, emptied engine / the same {best}", min(unchanged)),
            *(min(plain), 0.05),
        ),
    ]


def measure_changes(site: Site) -> list[Row]:
    """`inv build` after one line of a theme, or of a plugin, against plain builds and pushes."""
    rows = []
    for what, file in CHANGED.items():
        say(f"before the {what} changes (not measured)")
        site.change(file)
        site.plain_build("plain-changed")
        site.inv("build", registry="changed")
        ours, plain = [], []
        for _ in range(CHANGE_ROUNDS):
            say(f"a changed {what}: the plain commands, inv build")
            site.change(file)
            plain.append(site.plain_build("plain-changed"))
            # Another change: what the plain commands built would be in the cache.
            site.change(file)
            ours.append(site.inv("build", registry="changed").seconds)
        name = f"a changed {what}: inv build / plain build + push (median of {CHANGE_ROUNDS})"
        rows.append(ratio(name, statistics.median(ours), statistics.median(plain), 1.0))
    return rows


def measure_deploy(site: Site) -> list[Row]:
    """`inv deploy` with nothing to do against `docker compose up` of the same project."""
    say("the first inv deploy, which installs (not measured)")
    site.inv("deploy", record=True)
    compose_up = site.compose_up()
    say("nothing changed: inv deploy, docker compose up")
    ours, plain = [], []
    for _ in range(DEPLOY_ROUNDS):
        ours.append(site.inv("deploy").seconds)
        plain.append(compose_up().seconds)
    difference = statistics.median(ours) - statistics.median(plain)
    return [
        Row(
            f"unchanged inv deploy - docker compose up (median of {DEPLOY_ROUNDS})",
            f"{statistics.median(ours):.2f} s",
            f"{statistics.median(plain):.2f} s",
            f"{difference:+.2f} s",
            "<= +4 s",
            difference <= 4,
        )
    ]


def measure_at_once(site: Site) -> list[Row]:
    """The daily commands with nothing to do against the start of Python alone."""
    rows = []
    for task, limit in AT_ONCE.items():
        say(f"nothing changed: inv {task}, python")
        site.inv(task)
        runs = [(site.inv(task), python_alone(site.checkout)) for _ in range(AT_ONCE_ROUNDS)]
        # Not how long it takes: others may use the machine.
        ours, plain = ([run.processor for run in each] for each in zip(*runs, strict=True))
        what = f"unchanged inv {task} / python -c pass, processor (median of {AT_ONCE_ROUNDS})"
        rows.append(ratio(what, statistics.median(ours), statistics.median(plain), limit))
    return rows


def python_alone(folder: Path) -> Run:
    """Start Python as ./inv does, and do nothing."""
    argv = [*(word for word in PYTHON if word != "-B"), "-c", "pass"]
    return timed(argv, cwd=folder, env={"PATH": os.environ["PATH"]})


def measure_memory(site: Site) -> list[Row]:
    """The most memory that any task, or a program it ran, had at once."""
    say("the other tasks, for their memory")
    for args in (
        ("names",),
        ("list",),
        ("status",),
        ("url",),
        ("logs", "--tail", "10"),
        ("console", "--command", "list"),
        ("doctor", "--dry-run", "--fix"),
        ("cleanup", "--branch", "main"),
    ):
        site.inv(*args)
    task, peak = max(site.peaks.items(), key=lambda item: item[1])
    limit = f"< {MEMORY_LIMIT_MB} MB"
    what = f"peak memory of {len(site.peaks)} tasks, their programs included"
    return [Row(what, f"{peak:.0f} MB", "", f"inv {task}", limit, peak < MEMORY_LIMIT_MB)]


def measure_on_an_engine(scratch: Path) -> list[Row]:
    """Everything that needs an engine of its own."""
    client = docker.from_env()
    base = debian(client)
    with private_engine() as engine:
        # The suite would make the same one by debootstrap, under the same name.
        saved = subprocess.Popen(["docker", "save", base], stdout=subprocess.PIPE)
        environ = {**os.environ, "DOCKER_HOST": engine.host}
        subprocess.run(["docker", "load", "--quiet"], stdin=saved.stdout, env=environ, check=True)
        saved.wait()
        site = Site(engine, scratch)
        measured = (measure_build, measure_changes, measure_deploy, measure_at_once, measure_memory)
        return [row for measure in measured for row in measure(site)]


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(prog="nox -s bench --")
    parser.add_argument(
        *("--helm-timeout", "-t"),
        type=int,
        default=FULL_TIMEOUT_SECONDS,
        help="seconds that plain helm waits; the rest of its five minutes is then reckoned",
    )
    parser.add_argument("--only", choices=("list", "engine", "cluster", "data"), help="one part")
    options = parser.parse_args()
    parts: dict[str, Callable[[Path], list[Row]]] = {
        "list": measure_list,
        "engine": measure_on_an_engine,
        "cluster": lambda scratch: measure_on_a_cluster(scratch, options.helm_timeout),
        "data": measure_data,
    }
    rows = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in [options.only] if options.only else parts:
            scratch = Path(folder) / name
            scratch.mkdir()
            try:
                rows += parts[name](scratch)
            except NotHereError as error:
                say(f"NOT MEASURED: {name}: {error}")
    show(rows)
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
