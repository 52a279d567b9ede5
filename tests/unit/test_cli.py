"""The command line: what it lists and explains, its exit codes, what it makes of bad input."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from invoke import Collection
from invoke.parser import Parser, ParserContext

from mautic_multidev import __main__ as package
from tasks import namespace
from tasks.app import invoke_config
from tasks.app.invoke_config import Suite
from tasks.app.overview import EXAMPLES, overview
from tasks.app.session import Session
from tasks.app.task import LETTERS, task
from tasks.commands.machine import SESSIONS
from tasks.core import errors
from tasks.core.display import PROGRAM
from tests.support.inprocess import InProcess
from tests.support.suite import ROOT


def tasks_of(collection: Any = namespace, prefix: str = "") -> dict[str, Any]:
    found = {prefix + name: task for name, task in collection.tasks.items()}
    for name, inner in collection.collections.items():
        found |= tasks_of(inner, f"{prefix}{name}.")
    return found


TASKS = tasks_of()
# Asked for once: invoke takes a task's help apart while it hands its arguments out.
ARGUMENTS = {name: task.get_arguments() for name, task in TASKS.items()}
PARSED = namespace.to_contexts()
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


def test_every_task_has_its_place_among_the_jobs() -> None:
    assert sorted(EXAMPLES) == sorted(TASKS)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_a_command_line_of_its_task(name: str) -> None:
    program, *words = shlex.split(EXAMPLES[name])
    (parsed,) = Parser(PARSED, initial=ParserContext()).parse_argv(words)[1:]
    assert (program, parsed.name) == ("inv", name)


def test_without_a_task_they_are_shown_by_their_jobs(inv: InProcess) -> None:
    done = inv()
    assert done.returncode == 0
    assert "A branch's environment:\n  inv build --env dev " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_what_is_of_no_use_here_is_not_shown() -> None:
    def shown(*, is_package: bool) -> set[str]:
        text = overview(is_package=is_package)
        return {name for name, example in EXAMPLES.items() if f"  {example} " in text}

    assert EXAMPLES.keys() - shown(is_package=True) == {"test", "ci.local"}
    assert EXAMPLES.keys() - shown(is_package=False) == {"init", "upgrade"}


@pytest.mark.parametrize(
    ("called", "told"),
    [
        ("bin/mautic-multidev", "mautic-multidev"),
        ("elsewhere/mautic-multidev", "elsewhere/mautic-multidev"),
        ("mautic_multidev/__main__.py", "./inv"),
    ],
)
def test_the_package_s_program_is_named_as_it_was_called(
    called: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "mautic-multidev"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv(PROGRAM, "./inv")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / called)])
    ran: list[str] = []
    monkeypatch.setattr(invoke_config, "main", lambda: ran.append(os.environ[PROGRAM]))
    package.main()
    assert [name.removeprefix(f"{tmp_path}/") for name in ran] == [told]


def test_a_tasks_help_has_an_example(inv: InProcess) -> None:
    assert inv("--help", "rollback").stdout.endswith("Example:\n  inv rollback --to 1a2b3c4d\n\n")


@pytest.mark.parametrize("task", sorted(EXAMPLES))
def test_a_tasks_help_fits_80_columns(inv: InProcess, task: str) -> None:
    assert [line for line in inv("--help", task).stdout.splitlines() if len(line) > 80] == []


def test_commands_are_shown_as_they_can_be_typed(inv: InProcess) -> None:
    called = {PROGRAM: "../acme/inv"}
    assert "\n  ../acme/inv build --env dev " in inv(env=called).stdout
    lines = inv(env={PROGRAM: "/opt/acme/inv"}).stdout.splitlines()
    assert lines[-1] == "inv is /opt/acme/inv."
    assert [line for line in lines if len(line) > 80] == []
    lines = inv(env={PROGRAM: "./inv"}).stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert "\n  ../acme/inv rollback --to " in inv("--help", "rollback", env=called).stdout
    near = inv("release", env=called).stderr
    assert "did you mean releases?" in near


def test_the_version_is_that_of_the_project(inv: InProcess) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert inv("--version").stdout == f"{project['name']} {project['version']}\n"


NEAR = [
    (["deplo"], "deploy"),
    (["snapshots"], "db.snapshots"),
    (["db.snapshos"], "db.snapshots"),
    (["names", "--brnch", "x"], "--branch"),
    (["--hlep"], "--help"),
    (["--help", "clenup"], "cleanup"),
]


@pytest.mark.parametrize(("args", "meant"), NEAR, ids=lambda value: str(value)[:40])
def test_an_unknown_word_is_told_with_the_one_that_was_meant(
    args: list[str], meant: str, inv: InProcess
) -> None:
    done = inv(*args)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == [f"  hint: did you mean {meant}?"]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_only_an_option_that_may_be_left_out_has_a_default(name: str) -> None:
    required = [argument for argument in ARGUMENTS[name] if argument.positional]
    assert [argument.name for argument in required if "default:" in argument.help] == []


def test_an_option_has_the_same_letter_in_every_task() -> None:
    letters: dict[str, set[tuple[str, ...]]] = {}
    for arguments in ARGUMENTS.values():
        for option in arguments:
            letters.setdefault(option.name, set()).add(option.names[1:])
    assert {name: found for name, found in letters.items() if len(found) > 1} == {}
    given = {name: {(letter,) if letter else ()} for name, letter in LETTERS.items()}
    assert {name: letters[name] for name in LETTERS} == given


def test_a_letter_is_one() -> None:
    """Of --no-build invoke would make `--`, what ends the options."""
    letters = {letter for each in ARGUMENTS.values() for one in each for letter in one.names[1:]}
    assert {letter for letter in letters if not letter.isalnum()} == set()


def test_the_sessions_that_inv_test_knows_are_those_of_nox() -> None:
    found = re.findall(r"^@nox\.session\ndef (\w+)", (ROOT / "noxfile.py").read_text(), re.M)
    assert set(found) == SESSIONS


def test_list_names_every_task(inv: InProcess) -> None:
    done = inv("--list")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for name in TASKS:
        assert re.search(rf"^\s+{re.escape(name.replace('_', '-'))}\b", done.stdout, re.M), name


@pytest.mark.parametrize("words", [("--help",), ("-h",)])
@pytest.mark.parametrize("name", sorted(TASKS))
def test_help_after_a_task_is_never_an_argument_of_it(
    name: str, words: tuple[str, ...], inv: InProcess
) -> None:
    name = name.replace("_", "-")
    done = inv(name, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: inv [--core-opts] {name} " in done.stdout


# -- exit codes -----------------------------------------------------------------------------------


@task()
def fail(session: Session, kind: str = "") -> None:
    """Fail in one of the foreseen ways."""
    raise getattr(errors, kind)("it broke", command="prog -x", output="bad", hint="mend it")


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
    kind: str, code: int, inv: InProcess
) -> None:
    done = inv("fail", "--kind", kind, program=Suite(namespace=Collection(fail)).run)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr == ("error: it broke\n  command: prog -x\n  | bad\n  hint: mend it\n")


BAD_COMMAND_LINES = [
    (["nope"], "No idea what 'nope' is!"),
    (["names", "--nope"], "No idea what '--nope' is!"),
    (["names", "extra"], "No idea what 'extra' is!"),
    (["names", "--env"], "--env needs a value"),
    (["pin", "--for"], "--for needs a value"),
    (["db.copy"], "db.copy needs --from"),
    (["upgrade"], "upgrade needs --wheel"),
    (["db.dump", "--branch", "x"], "db.dump needs --file"),
    (["--nope"], "No idea what '--nope' is!"),
    (["--help", "nope"], "No idea what 'nope' is!"),
    (["--list", "nope"], "'nope' not found"),
    (["--list", "--list-format", "x"], "must be flat, nested or json"),
    (["--command-timeout", "x", "names"], "--command-timeout 'x': must be a whole number"),
    (["--list", "-D", "1.5"], "--list-depth '1.5': must be a whole number"),
    (["logs", "--tail", "x"], "--tail 'x': must be a whole number, 0 or more"),
    (["logs", "--tail=-3"], "--tail '-3': must be a whole number, 0 or more"),
    (["logs", "--tail", ""], "--tail '': must be a whole number, 0 or more"),
    (
        ["logs", "--since", "10"],
        "--since '10': must be 1 to 9999 seconds to weeks: 90s, 10m, 2h, 7d",
    ),
    (["logs", "--since", ""], "--since '': must be 1 to 9999 seconds to weeks: 90s, 10m, 2h, 7d"),
    (["test", "--only", "nope"], "--only 'nope': there is no such session"),
    (["test", "--only", "unit", "--only", "untis"], "--only 'untis': there is no such session"),
    (["--collection", "nope", "names"], "Can't find any collection named 'nope'!"),
    (["names", "--format", "xml"], "--format 'xml': must be text or json"),
    (
        ["names", "--branch", "main", "--env", "lcoal"],
        "there is no environment 'lcoal' in invoke.yaml",
    ),
    (["url", "--branch", "main", "--link", "soon"], "--link 'soon': must be 1 to 9999 hours"),
    *(
        ([*words, "-"], f"{words[-1]} -: it is written to a file, and never to stdout")
        for words in (
            ["plan", "--out"],
            ["page", "--out"],
            ["rehearse", "--out"],
            ["db.dump", "--dry-run", "--file"],
            ["deploy", "--dry-run", "--summary"],
            ["rollback", "--dry-run", "--summary"],
            ["cleanup", "--dry-run", "--branch=x", "--summary"],
        )
    ),
    *(
        (
            [*words, "--dry-run", "--summary", "/nowhere/x"],
            "--summary /nowhere/x: there is no folder /nowhere",
        )
        for words in (["deploy"], ["rollback"], ["cleanup", "--branch=x"])
    ),
    (["rehearse", "--out", "/"], "--out /: it is a folder"),
    (["plan", "--out", "/"], "--out /: it is a folder"),
    (["plan", "--out", "/nowhere/plan.json"], "there is no folder /nowhere"),
    (["page", "--out", "x" * 300], "it cannot be written: File name too long"),
    (["page", "--port", "9000"], "--port is for --serve"),
    (["page", "--port", "8090"], "--port is for --serve"),
    (["page", "--login", "--port", "1"], "--port is not for --login, which makes no page"),
    (["page", "--login", "--used"], "--used is not for --login, which makes no page"),
    (["page", "--serve", "--out", "x"], "--out is not for --serve, which writes no file"),
    *(
        (["deploy", "--plan", "/nowhere", *words], f"{words[0]} is not for --plan, which says it")
        for words in (
            *(["--env", "dev"], ["--branch", "x"], ["--tag", "x"], ["--data", "empty"]),
            *(["--no-build"], ["--new"]),
        )
    ),
    (["url", "--login", "--link", "7d"], "--login is not for --link, which passes it"),
    (["db.seed", "--list", "--branch", "x"], "--branch is not for --list"),
    (["db.seed", "--list", "--contacts", "0"], "--contacts is not for --list"),
    (["db.seed", "--list", "--no-uploads"], "--no-uploads is not for --list"),
    (["db.seed", "--list", "--server", "x"], "--server is not for --list"),
    (["doctor", "--yes"], "--yes is for --fix"),
    (["doctor", "--stop-engine", "--fix"], "--fix is not for --stop-engine"),
    (["gc", "--sleep", "--all"], "--all is not for --sleep, which removes nothing"),
    (["gc", "--sleep", "--verbose"], "--verbose is not for --sleep, which removes nothing"),
    (["db.seed", "--list", "--env", "lcoal"], "there is no environment 'lcoal' in invoke.yaml"),
    (["platform.image", "--part", "x"], "--part 'x': must be provisioner or entrance"),
    (["platform.image"], "local does not live in a cluster; of invoke.yaml, do: dev, prod"),
    (["platform.status"], "local does not live in a cluster; of invoke.yaml, do: dev, prod"),
    (["names", "--branch", "a..b"], "'a..b' is not a legal branch name"),
    (["names", "--branch", "x" * 100_000], "is 100000 bytes long"),
    (["names", "--branch", b"caf\xe9".decode(errors="surrogateescape")], "is not valid UTF-8"),
]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["names", "--branch", "main"], {"names"}),
        (["names", "url"], {"names", "url"}),
        (["--help", "names"], {"names"}),
        (["infra.plan"], {"infra.plan", "plan"}),
        (["--list"], set()),
    ],
)
def test_only_the_tasks_that_a_command_line_may_name_are_read(
    words: list[str], named: set[str]
) -> None:
    program = Suite(namespace=namespace)
    program.create_config()
    program.parse_core(["inv", *words])
    program.parse_collection()
    program.parse_tasks()
    assert set(program.parser.contexts) == named


@pytest.mark.parametrize(("args", "message"), BAD_COMMAND_LINES, ids=lambda value: str(value)[:40])
def test_bad_input_is_exit_code_2_and_one_line(
    args: list[str], message: str, inv: InProcess
) -> None:
    done = inv(*args)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    first = done.stderr.splitlines()[0]
    assert first.startswith("error: ")
    assert message in first
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["cleanup"],
        ["db.copy", "--from", "x"],
        ["db.load", "x.zip"],
        ["db.reset"],
        ["db.restore"],
        ["dev"],
        ["rehearse"],
        ["rollback", "--with-data"],
        ["sleep"],
    ],
    ids=lambda argv: argv[0],
)
def test_what_a_protected_environment_refuses_needs_no_credentials(
    inv: InProcess, argv: list[str]
) -> None:
    done = inv(*argv, "--env", "prod", "--branch", "main")
    assert done.returncode == 3
    assert "prod is protected: " in done.stderr


def test_a_checkout_completes_no_task_that_it_refuses(inv: InProcess) -> None:
    assert inv("--complete", "--", "up").stdout == ""
    assert inv("--complete", "--", "tes").stdout == "test\n"


def test_the_values_of_some_options_complete(inv: InProcess) -> None:
    def complete(words: str) -> str:
        return inv("--complete", "--", words).stdout

    assert complete("build --only m") == "mautic\n"
    assert complete("queue --retry ") == "all\n"
    assert complete("db.copy --from ") == complete("deploy --branch ")
    assert complete("adopt --from ") == ""
    assert "prod\n" in complete("rollback -e ")
    # An answer of a cluster would keep the key waiting.
    assert complete("rollback --env dev --to ") == ""


def test_a_completion_that_finds_no_place_is_one_line(inv: InProcess, tmp_path: Path) -> None:
    (tmp_path / "home" / ".local").touch()
    done = inv("completion", "bash")
    assert done.returncode == 1
    assert "completions/inv cannot be written: Not a directory\n" in done.stderr
    assert done.stderr.endswith("inv completion bash --show\n")


def test_an_option_that_is_needed_is_shown_by_an_example(inv: InProcess) -> None:
    hint = inv("db.copy").stderr.splitlines()[1]
    assert hint == "  hint: such as inv db.copy --from main --branch fix"
    typed = inv("db.copy", env={PROGRAM: "./inv"}).stderr.splitlines()[1]
    assert typed == "  hint: such as ./inv db.copy --from main --branch fix"


@pytest.mark.parametrize("name", WITH_BRANCH)
def test_an_empty_branch_never_means_another_one(name: str, inv: InProcess) -> None:
    """`inv cleanup --branch "$BRANCH"` with an empty variable must not remove what is here."""
    required = {
        "adopt": ("--from", "git@example.com:a/b.git"),
        "db.copy": ("--from", "main"),
        "db.dump": ("--file", "x.zip"),
        "db.load": ("--file", "x.zip"),
    }.get(name, ())
    done = inv(name, "--branch", "", *required)
    assert done.returncode == 2, done.stderr
    assert "the branch name is empty" in done.stderr


@pytest.mark.parametrize(
    ("args", "variable", "value", "message"),
    [
        (("build", "--dry-run"), "MAUTIC_IMAGE", "x y", "'x y' is not an image reference"),
        (("build", "--dry-run"), "DEBIAN_IMAGE", "Up", "'Up' is not an image reference"),
        (("ci.image", "--dry-run"), "TERRAFORM_IMAGE", "a:", "'a:' is not an image reference"),
        (
            ("names", "--branch", "x"),
            "INVOKE_IMAGES_MAUTIC",
            "Mautic/UPPER:1",
            "must be an image reference",
        ),
        (
            ("names", "--branch", "x"),
            "INVOKE_ENVIRONMENTS_LOCAL_HOST",
            "fixed.localhost",
            "both use {slug}, or neither",
        ),
    ],
)
def test_a_bad_variable_is_named(
    args: tuple[str, ...], variable: str, value: str, message: str, inv: InProcess
) -> None:
    done = inv(*args, env={variable: value})
    assert done.returncode == 2, done.stderr
    first = done.stderr.splitlines()[0]
    assert f"the variable {variable}" in first
    assert message in first


BAD_FILES = {
    "broken.yaml": (b"a: [\n", "cannot be read: while parsing a flow node"),
    "list.yaml": (b"- 1\n", "must hold keys and values"),
    "text.yaml": (b"words\n", "must hold keys and values"),
    "binary.yaml": (b"\xff\xfe\0", "cannot be read: 'utf-8' codec"),
    "object.yaml": (b"a: !!python/object/apply:os.system [id]\n", "could not determine"),
    "twice.yaml": (
        b"images:\n  php: '8.2'\n  debian: trixie\n  php: '8.4'\n",
        "cannot be read: line 4: the key 'php' is given twice, first in line 2",
    ),
    "misspelt.yaml": (b"projekt: x\n", "projekt in"),
    "wrong.yaml": (b"images: 3\n", "images in"),
    "number.yaml": (b"1: 2\n", "1 in"),
    "own.yaml": (b"run: 3\n", "Can't cleanly merge"),
    "broken.json": (b"{", "cannot be read: Expecting property name"),
    "settings.toml": (b"", "are not supported"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_settings_file_that_is_wrong(name: str, inv: InProcess, tmp_path: Path) -> None:
    content, message = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    done = inv("-f", str(path), "names", "--branch", "main")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_overrides_a_merged_one_is_given_once(inv: InProcess, tmp_path: Path) -> None:
    path = tmp_path / "merged.yaml"
    path.write_text(
        "environments:\n  local: &local {ttl: 1d, host: '{slug}.localhost'}\n"
        "  other: {<<: *local, ttl: 2d, target: compose, branches: ['x'], namespace: 'x-{slug}',\n"
        "          registry: {url: 'localhost:5050/x'}}\n"
    )
    done = inv("-f", str(path), "names", "--branch", "main", "--env", "other")
    assert done.returncode == 0, done.stderr


def test_a_settings_file_that_cannot_be_opened(inv: InProcess, tmp_path: Path) -> None:
    folder = tmp_path / "folder.yaml"
    folder.mkdir()
    for path, message in ((tmp_path / "no.yaml", "does not exist"), (folder, "Is a directory")):
        done = inv("-f", str(path), "names", "--branch", "main")
        assert done.returncode == 2
        assert message in done.stderr
        assert str(path) in done.stderr


def test_a_person_s_own_invoke_yaml_may_hold_other_projects_keys(
    inv: InProcess, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".invoke.yaml").write_text("other: {key: 1}\nplatform: {http_port: 81}\n")
    done = inv("names", "--branch", "main", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"] == "http://main.localhost:81"


def test_variables_and_files_override_in_invoke_s_order(inv: InProcess) -> None:
    def project(**options: Any) -> str:
        done = inv("names", "--branch", "main", "--format", "json", **options)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["release"])

    assert project(env={"INVOKE_PROJECT": "byenv"}) == "byenv-main"
    assert project(settings={"project": "byfile"}) == "byfile-main"
    assert project(env={"INVOKE_PROJECT": "byenv"}, settings={"project": "byfile"}) == "byfile-main"
