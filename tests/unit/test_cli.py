"""The command line: what it lists and explains, its exit codes, its streams, its wrapper."""

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

from tasks import namespace
from tests.support.suite import Inv, git
from tests.unit.test_layers import HEAVY

EXAMPLE = '''
"""Tasks of a test."""

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
'''


@pytest.fixture
def example(checkout: Path) -> Path:
    """A checkout whose suite has five more tasks."""
    (checkout / "tasks" / "example.py").write_text(EXAMPLE)
    init = checkout / "tasks" / "__init__.py"
    init.write_text(
        init.read_text()
        + "\nfrom tasks.example import bug, chatter, fail, relay, work\n"
        + "for one in (bug, chatter, fail, relay, work):\n    namespace.add_task(one)\n"
    )
    return checkout


def tasks_of(collection: Any = namespace, prefix: str = "") -> dict[str, Any]:
    found = {prefix + name: task for name, task in collection.tasks.items()}
    for name, inner in collection.collections.items():
        found |= tasks_of(inner, f"{prefix}{name}.")
    return found


TASKS = tasks_of()
# Asked for once: invoke takes a task's help apart while it hands its arguments out.
ARGUMENTS = {name: task.get_arguments() for name, task in TASKS.items()}
WITH_BRANCH = sorted(
    name
    for name, arguments in ARGUMENTS.items()
    if any(argument.name == "branch" for argument in arguments)
)


# -- what it offers -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_task_and_every_option_is_explained(name: str) -> None:
    first = (TASKS[name].__doc__ or "").strip().splitlines()[0]
    assert first.endswith(".")
    assert len(first) <= 100
    unexplained = [argument.name for argument in ARGUMENTS[name] if not argument.help]
    assert unexplained == []


def test_list_names_every_task(inv: Inv, checkout: Path) -> None:
    done = inv(checkout, "--list")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for name in TASKS:
        assert re.search(rf"^\s+{re.escape(name.replace('_', '-'))}\b", done.stdout, re.M), name


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
    # invoke's own copy of PyYAML looks for the C library of that name.
    assert (HEAVY - {"yaml"}) & loaded == set()


# -- exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("SuiteError", 1),
        ("CommandError", 1),
        ("InputError", 2),
        ("SettingsError", 2),
        ("RefusedError", 3),
        ("HeldError", 4),
    ],
)
def test_a_foreseen_failure_ends_with_its_code_and_no_traceback(
    kind: str, code: int, inv: Inv, example: Path
) -> None:
    done = inv(example, "fail", "--kind", kind)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr == ("error: it broke\n  command: prog -x\n  | bad\n  hint: mend it\n")


def test_a_bug_keeps_its_traceback(inv: Inv, example: Path) -> None:
    done = inv(example, "bug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError: a bug" in done.stderr


BAD_COMMAND_LINES = [
    (["nope"], "No idea what 'nope' is!"),
    (["names", "--nope"], "No idea what '--nope' is!"),
    (["names", "extra"], "No idea what 'extra' is!"),
    (["names", "--env"], "needed value and was not given one"),
    (["--nope"], "No idea what '--nope' is!"),
    (["--help", "nope"], "No idea what 'nope' is!"),
    (["--list", "nope"], "'nope' not found"),
    (["--list", "--list-format", "x"], "must be flat, nested or json"),
    (["--command-timeout", "x", "names"], "invalid literal for int()"),
    (["--collection", "nope", "names"], "Can't find any collection named 'nope'!"),
    (["names", "--format", "xml"], "--format 'xml': must be text or json"),
    (["names", "--env", "lcoal"], "there is no environment 'lcoal' in invoke.yaml"),
    (["names", "--branch", "a..b"], "'a..b' is not a legal branch name"),
    (["names", "--branch", "x" * 100_000], "is 100000 bytes long"),
    (["names", "--branch", b"caf\xe9".decode(errors="surrogateescape")], "is not valid UTF-8"),
]


@pytest.mark.parametrize(("args", "message"), BAD_COMMAND_LINES, ids=lambda value: str(value)[:40])
def test_bad_input_is_exit_code_2_and_one_line(
    args: list[str], message: str, inv: Inv, checkout: Path
) -> None:
    done = inv(checkout, *args)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    first = done.stderr.splitlines()[0]
    assert first.startswith("error: ")
    assert message in first
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", WITH_BRANCH)
def test_an_empty_branch_never_means_another_one(name: str, inv: Inv, checkout: Path) -> None:
    """`inv cleanup --branch "$BRANCH"` with an empty variable must not remove what is here."""
    done = inv(checkout, name, "--branch", "")
    assert done.returncode == 2, done.stderr
    assert "the branch name is empty" in done.stderr


BAD_FILES = {
    "broken.yaml": (b"a: [\n", "cannot be read: while parsing a flow node"),
    "list.yaml": (b"- 1\n", "must hold keys and values"),
    "text.yaml": (b"words\n", "must hold keys and values"),
    "binary.yaml": (b"\xff\xfe\0", "cannot be read: 'utf-8' codec"),
    "object.yaml": (b"a: !!python/object/apply:os.system [id]\n", "could not determine"),
    "misspelt.yaml": (b"projekt: x\n", "projekt in"),
    "wrong.yaml": (b"images: 3\n", "images in"),
    "number.yaml": (b"1: 2\n", "1 in"),
    "own.yaml": (b"run: 3\n", "Can't cleanly merge"),
    "broken.json": (b"{", "cannot be read: Expecting property name"),
    "settings.toml": (b"", "are not supported"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_settings_file_that_is_wrong(name: str, inv: Inv, checkout: Path, tmp_path: Path) -> None:
    content, message = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    done = inv(checkout, "-f", str(path), "names")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_settings_file_that_cannot_be_opened(inv: Inv, checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    for path, message in ((tmp_path / "no.yaml", "does not exist"), (folder, "Is a directory")):
        done = inv(checkout, "-f", str(path), "names")
        assert done.returncode == 2
        assert message in done.stderr
        assert str(path) in done.stderr


def test_a_misspelt_key_in_invoke_yaml(inv: Inv, checkout: Path) -> None:
    path = checkout / "invoke.yaml"
    path.write_text(path.read_text().replace("debian:", "debain:"))
    done = inv(checkout, "names")
    assert done.returncode == 2
    assert done.stderr == (
        "error: images.debain in invoke.yaml: is not a setting\n  hint: did you mean 'debian'?\n"
    )


def test_a_person_s_own_invoke_yaml_may_hold_other_projects_keys(
    inv: Inv, checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".invoke.yaml").write_text("other: {key: 1}\nplatform: {http_port: 81}\n")
    done = inv(checkout, "names", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"] == "http://main.localhost:81"


def test_variables_and_files_override_in_invoke_s_order(inv: Inv, checkout: Path) -> None:
    def project(**options: Any) -> str:
        done = inv(checkout, "names", "--format", "json", **options)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["release"])

    assert project(env={"INVOKE_PROJECT": "byenv"}) == "byenv-main"
    assert project(settings={"project": "byfile"}) == "byfile-main"
    assert project(env={"INVOKE_PROJECT": "byenv"}, settings={"project": "byfile"}) == "byfile-main"


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
        ("feature/x", "dev", "mautic-feature-x-217d2b", "feature-x-217d2b.dev.example.org"),
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
