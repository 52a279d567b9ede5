"""The command line as a process: its streams, its signals, and the checkout that it finds."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.core.display import is_active
from tests.support.suite import Inv, git
from tests.unit.test_layers import HEAVY

EXAMPLE = '''
"""Tasks of a test."""

from pathlib import Path

from tasks.adapters.process import Runner
from tasks.app.session import Session
from tasks.app.task import task
from tasks.core import errors


@task()
def fail(session: Session, kind: str = "") -> None:
    """Fail in one of the foreseen ways."""
    raise getattr(errors, kind)("it broke", command="prog -x", output="bad", hint="mend it")


@task()
def bug(session: Session) -> None:
    """Fail in a way that nobody foresaw."""
    raise ZeroDivisionError("a bug")


@task()
def paint(session: Session) -> None:
    """Fail with words that came from somewhere."""
    raise RuntimeError("\\x1b[2Jpainted\\u202e\\r")


@task()
def work(session: Session) -> None:
    """Run a program for long."""
    with session.console.work("long work") as activity:
        session.runner.run(["sh", "-c", "echo begun; sleep 600"], on_line=activity.say)


@task()
def relay(session: Session) -> None:
    """Pass a program's output on as data, as the logs are, while it goes on."""
    session.runner.run(["sh", "-c", "echo begun; exec sleep 600"], on_line=session.console.data)


@task()
def chatter(session: Session) -> None:
    """Write much data."""
    for number in range(100_000):
        session.console.data(str(number))


@task()
def spill(session: Session) -> None:
    """Write into a file for which there is no room."""
    Path("/dev/full").write_text("much")
'''


@pytest.fixture
def example(checkout: Path) -> Path:
    """A checkout whose suite has seven more tasks."""
    (checkout / "tasks" / "example.py").write_text(EXAMPLE)
    init = checkout / "tasks" / "__init__.py"
    init.write_text(
        init.read_text()
        + "\nfrom tasks.example import bug, chatter, fail, paint, relay, spill, work\n"
        + "for one in (bug, chatter, fail, paint, relay, spill, work):\n"
        + "    namespace.add_task(one)\n"
    )
    return checkout


# -- what it offers -------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--list", "--help=names"])
def test_looking_up_a_task_loads_nothing_heavy(option: str, inv: Inv, checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tasks", option],
        cwd=checkout,
        env=inv.environ(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "invoke" in loaded
    assert HEAVY & loaded == set()
    assert {"asyncio", "importlib.metadata", "unittest"} & loaded == set()
    decisions = {
        f"tasks.core.{name}" for name in ("foresight", "names", "project_setup", "settings")
    }
    assert decisions & loaded == set()


@pytest.mark.parametrize("task", ["names", "url"])
def test_what_only_looks_starts_without_the_libraries_of_clusters_and_clouds(
    task: str, inv: Inv, checkout: Path
) -> None:
    env = inv.environ({"DOCKER_HOST": "unix:///nowhere"})
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tasks", task],
        cwd=checkout,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "pydantic" in loaded
    assert (HEAVY - {"pydantic", "yaml"}) & loaded == set()
    assert "asyncio" not in loaded
    others = {"tasks.adapters.aws", "tasks.adapters.kubernetes", "tasks.adapters.registry.oci"}
    others |= {"tasks.app.clusters", "tasks.core.kubernetes", "tasks.flows.build"}
    if task == "names":
        others |= {"importlib.metadata", "tasks.adapters.docker.engine", "tasks.app.wiring"}
    assert others & loaded == set()


def test_what_a_task_imports_is_compiled_once(inv: Inv, checkout: Path) -> None:
    kept = checkout / "tasks" / "core" / "__pycache__"
    shutil.rmtree(kept)
    argv = [sys.executable, "-E", "-m", "tasks", "names"]
    subprocess.run(argv, cwd=checkout, env=inv.environ(), capture_output=True, check=True)
    assert list(kept.glob("settings.*.pyc"))


# -- exit codes -----------------------------------------------------------------------------------


def test_a_bug_keeps_its_traceback(inv: Inv, example: Path) -> None:
    done = inv(example, "bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr


def test_a_bug_s_traceback_does_not_act(inv: Inv, example: Path) -> None:
    done = inv(example, "paint")
    assert done.returncode == 1
    assert "RuntimeError: painted\\u202e" in done.stderr
    assert not any(is_active(x) for x in done.stderr if x != "\n")


def test_without_invoke_yaml(inv: Inv, checkout: Path) -> None:
    (checkout / "invoke.yaml").unlink()
    done = inv(checkout, "list")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: there is no invoke.yaml in {checkout}\n  hint: ")


def test_a_misspelt_key_in_invoke_yaml(inv: Inv, checkout: Path) -> None:
    path = checkout / "invoke.yaml"
    path.write_text(path.read_text().replace("debian:", "debain:"))
    done = inv(checkout, "names")
    assert done.returncode == 2
    assert done.stderr == (
        "error: images.debain in invoke.yaml: is not a setting\n  hint: did you mean 'debian'?\n"
    )


# -- streams and signals --------------------------------------------------------------------------


def test_data_goes_to_stdout_and_nothing_else_does(inv: Inv, checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "-b", "feature/x")
    done = inv(checkout, "names", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["branch"] == "feature/x"


def test_a_reader_that_goes_away_ends_the_run_quietly(inv: Inv, example: Path) -> None:
    running = inv.start(example, "chatter")
    assert running.stdout is not None
    assert running.stdout.readline() == "0\n"
    running.stdout.close()
    assert running.stderr is not None
    assert running.stderr.read() == ""
    assert running.wait(timeout=60) == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    "args",
    [
        ["--list"],
        ["--list", "--list-format=json"],
        ["--help"],
        ["--help=names"],
        ["--version"],
        ["--print-completion-script=bash"],
        ["names"],
        ["names", "--format=json"],
        ["ci.explain", "--event=push"],
        # Told from a thread that reads a program's output.
        ["relay"],
    ],
    ids=" ".join,
)
def test_what_nobody_reads_is_not_worth_a_word(args: list[str], inv: Inv, example: Path) -> None:
    with _unread() as pipe:
        done = subprocess.run(
            inv.argv(*args),
            cwd=example,
            env=inv.environ(),
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("args", [["fail", "--kind=SuiteError"], ["work"], ["nope"]], ids=" ".join)
def test_messages_that_nobody_reads_end_the_run(args: list[str], inv: Inv, example: Path) -> None:
    with _unread() as pipe:
        done = subprocess.run(
            inv.argv(*args),
            cwd=example,
            env=inv.environ(),
            stdout=subprocess.PIPE,
            stderr=pipe,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (128 + signal.SIGPIPE, b"")


FULL = Path("/dev/full")
"""Every write to it fails, as on a disk without room."""


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "args",
    [
        ["--list"],
        ["--list", "--list-format=json"],
        ["--help=names"],
        ["--version"],
        ["names"],
        ["names", "--format=json"],
        ["chatter"],
        ["relay"],
    ],
    ids=" ".join,
)
def test_data_that_finds_no_room_is_one_clear_error(
    args: list[str], inv: Inv, example: Path
) -> None:
    with FULL.open("wb") as full:
        done = run_with(inv, example, args, stdout=full)
    assert (done.returncode, done.stderr) == (
        1,
        "error: the output cannot be written: No space left on device\n",
    )


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("args", [["fail", "--kind=SuiteError"], ["work"], ["nope"]], ids=" ".join)
def test_messages_that_find_no_room_end_the_run(args: list[str], inv: Inv, example: Path) -> None:
    with FULL.open("wb") as full:
        done = run_with(inv, example, args, stderr=full)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_file_that_finds_no_room_is_one_clear_error(inv: Inv, example: Path) -> None:
    done = run_with(inv, example, ["spill"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: a file cannot be written: No space left on device\n"


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)], ids=str)
def test_a_stream_that_is_closed_is_not_written_to(
    closed: tuple[int, ...], inv: Inv, example: Path
) -> None:
    redirections = " ".join(f"{number}>&-" for number in closed)
    shell = ["sh", "-c", f'exec "$@" {redirections}', "sh", *inv.argv("names", "--branch", "x")]
    done = subprocess.run(
        shell, cwd=example, env=inv.environ(), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) is (1 not in closed)


def run_with(
    inv: Inv, where: Path, args: list[str], **streams: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command line with streams of its own; those not given are captured."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(
        inv.argv(*args),
        cwd=where,
        env=inv.environ(),
        text=True,
        timeout=60,
        check=False,
        **pipes,
    )


@contextlib.contextmanager
def _unread() -> Iterator[int]:
    """Give the writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_says_so(number: signal.Signals, inv: Inv, example: Path) -> None:
    running = inv.start(example, "work")
    assert running.stderr is not None
    for line in running.stderr:
        if "begun" in line:
            break
    running.send_signal(number)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert stderr.splitlines()[-1] == "! interrupted; the same command can be run again"
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    ("program", "module"),
    [
        ("tasks", "invoke.config"),
        ("tasks", "tasks.core.errors"),
        ("tasks", "tasks.commands.gc"),
        # What invoke's own program imports is loaded before the suite is asked.
        ("invoke", "tasks.core.errors"),
        ("invoke", "tasks.commands.gc"),
    ],
)
def test_a_run_that_is_interrupted_before_it_begins_says_so_in_one_line(
    program: str, module: str, inv: Inv, checkout: Path
) -> None:
    # What is loaded, line by line, shows where the program is.
    running = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", program, "--list"],
        cwd=checkout,
        env=inv.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.split("|")[-1].strip() == module:
            running.send_signal(signal.SIGINT)
            break
    said = [line for line in running.stderr if not line.startswith("import time:")]
    assert running.wait(timeout=60) == 130
    assert said == ["! interrupted; the same command can be run again\n"]


# -- the state of the checkout --------------------------------------------------------------------


def test_a_detached_head_needs_a_branch(inv: Inv, checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "--detach")
    done = inv(checkout, "names")
    assert done.returncode == 2
    assert "HEAD is detached" in done.stderr
    assert inv(checkout, "names", "--branch", "main").returncode == 0


def test_without_git_a_branch_is_needed(inv: Inv, checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    done = inv(checkout, "names")
    assert done.returncode == 2
    assert "is not a git repository" in done.stderr
    assert inv(checkout, "names", "--branch", "main").returncode == 0


def test_in_a_ci_job_the_branch_and_the_environment_come_from_the_job(
    inv: Inv, checkout: Path
) -> None:
    git(checkout, "checkout", "--quiet", "--detach")
    # With the domain there is nothing left that a stack would have to be asked for.
    job = {
        **{"CI": "true", "CI_JOB_ID": "1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        "INVOKE_ENVIRONMENTS_DEV_DOMAIN": "dev.example.org",
        "INVOKE_ENVIRONMENTS_PROD_DOMAIN": "shop.example.org",
    }
    for branch, environment, expected, host in (
        ("feature/x", "dev", "mautic-feature-x-217d2bf51f", "feature-x-217d2bf51f.dev.example.org"),
        ("main", "prod", "mautic-prod", "shop.example.org"),
    ):
        done = inv(
            *(checkout, "names", "--format", "json"), env={**job, "CI_COMMIT_BRANCH": branch}
        )
        assert done.returncode == 0, done.stderr
        names = json.loads(done.stdout)
        assert (names["branch"], names["environment"]) == (branch, environment)
        assert (names["namespace"], names["host"]) == (expected, host)
    settings = {"environments": {"dev": {"branches": ["feature/*"]}}}
    done = inv(checkout, "names", env={**job, "CI_COMMIT_BRANCH": "fix-1"}, settings=settings)
    assert done.returncode == 2
    assert "no environment's branches match 'fix-1'" in done.stderr


@pytest.mark.parametrize(
    ("left_out", "command"),
    [
        ("docker/standins/debian.sh", "build --dry-run"),
        ("docker/mautic/Dockerfile", "build --dry-run"),
        ("docker/docker-bake.hcl", "build --dry-run"),
        ("docker/compose.yaml", "deploy --dry-run"),
        ("docker/compose.yaml", "deploy --dry-run --tag 1a2b3c4d"),
        ("helm/mautic/Chart.yaml", "deploy --dry-run --env cluster --tag 1a2b3c4d"),
    ],
)
def test_what_a_sparse_checkout_leaves_out_is_named(
    inv: Inv, checkout: Path, left_out: str, command: str
) -> None:
    git(checkout, "status")  # which sees that the copied files are those of the index
    git(checkout, "sparse-checkout", "set", "--no-cone", "/*", f"!/{left_out}")
    own = {
        "target": "kubernetes",
        "branches": ["*"],
        "host": "{slug}.example.org",
        "registry": {"kind": "oci", "url": "registry.example.org/m"},
        "cluster": {"kind": "context", "name": "nowhere"},
    }
    done = inv(checkout, *command.split(), settings={"environments": {"cluster": own}})
    assert done.returncode == 2, done.stderr
    assert f"{left_out} is committed, but not checked out" in done.stderr


def test_a_sparse_checkout_without_whole_folders_is_told_by_name(inv: Inv, checkout: Path) -> None:
    git(checkout, "status")  # which sees that the copied files are those of the index
    git(checkout, "sparse-checkout", "set", "tasks", "docker/nginx", "docker/standins")
    done = inv(checkout, "build", "--dry-run")
    assert done.returncode == 2, done.stderr
    assert re.search("docker/.* is committed, but not checked out", done.stderr)
