"""./inv: makes .venv whole or not at all, finds its Python, and passes everything on."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.packages import make_uv, make_wheel, pin, silent_index
from tests.support.suite import ROOT

MAKING = "making .venv from requirements.lock"

PROGRAM = """\
import json, os, sys
import tiny
print(json.dumps({"argv": sys.argv[1:], "cwd": os.getcwd(), "tiny": tiny.VERSION,
                  "python": sys.version_info[:2], "prefix": sys.prefix,
                  "typed": os.environ["MAUTIC_MULTIDEV_INV"]}))
"""

HOSTILE = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONPATH": "{evil}",
    "PYTHONSAFEPATH": "1",
    "PYTHONIOENCODING": "no-such-encoding",
    "PYTHONWARNINGS": "error",
    "PYTHONPLATLIBDIR": "nowhere",
    # The locale C as it is, in which what is not ASCII comes to Python otherwise than from git.
    **{"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
}
"""What a person has set for a Python of their own."""


class Project:
    """A project as small as one can be: the real wrapper, a lock of one package, and one program.

    Args:
        root: where it is made.
        home: the HOME of every run; the packages are in it.
        uv: a wheel of uv.
    """

    def __init__(self, root: Path, home: Path, uv: Path) -> None:
        self.root = root
        self.home = home
        self.wheels = home / "wheels"
        self.wheels.mkdir(parents=True)
        (root / "tasks" / "adapters" / "host").mkdir(parents=True)
        (root / "tasks" / "__main__.py").write_text(PROGRAM)
        for program in ("inv", "tasks/adapters/host/install.py"):
            shutil.copy2(ROOT / program, root / program)
        (self.wheels / uv.name).symlink_to(uv)
        (root / "requirements-install.lock").write_text(pin(uv))
        self.lock("1.0")

    def lock(self, version: str) -> None:
        """Require another version of the package."""
        files = {
            "tiny.py": f"VERSION = {version!r}\ndef main(): print('script', VERSION)\n",
            "{info}/entry_points.txt": "[console_scripts]\ntiny = tiny:main\n",
        }
        wheel = make_wheel(self.wheels, "tiny", version, files=files)
        (self.root / "requirements.lock").write_text(pin(wheel))

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of a run: no network, the package from its directory."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHON": sys.executable,
            "PYTHONDONTWRITEBYTECODE": "1",  # a third of the time that a .venv takes
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.wheels.as_uri(),
            **more,
        }

    def run(
        self, *args: str, cwd: Path | None = None, program: str | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the wrapper to its end."""
        return subprocess.run(
            [program or str(self.root / "inv"), *args],
            cwd=cwd or self.root,
            env=self.environ(**more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def leftovers(self) -> list[str]:
        """Return what lies in the project that should not."""
        expected = {"inv", "tasks", "requirements.lock", "requirements-install.lock", ".venv"}
        return [path.name for path in self.root.iterdir() if path.name not in expected]


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_uv(tmp_path_factory.mktemp("uv"))


@pytest.fixture
def project(tmp_path: Path, uv: Path) -> Project:
    return Project(tmp_path / "my project", tmp_path / "home", uv)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, uv: Path) -> Project:
    """A project whose .venv is there and fresh; tests leave it so."""
    path = tmp_path_factory.mktemp("made")
    made = Project(path / "my project", path / "home", uv)
    done = made.run(**hostile(path))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line] == [f"inv: {MAKING}, once …"]
    return made


def hostile(where: Path) -> dict[str, str]:
    """Return variables that a Python which heeds them cannot even start with."""
    evil = where / "evil"
    evil.mkdir(exist_ok=True)
    for module in ("json", "tasks", "venv", "ensurepip", "pip"):
        (evil / f"{module}.py").write_text("raise SystemExit(f'{__file__} was loaded')\n")
    return {name: value.format(evil=evil) for name, value in HOSTILE.items()}


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what the program was told."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_fresh_venv_is_used_offline_and_without_a_word(made: Project) -> None:
    done = made.run("--list", "a b", "*", PIP_FIND_LINKS="", PYTHON="/nonexistent")
    told = answer(done)
    assert done.stderr == ""
    assert told["argv"] == ["--list", "a b", "*"]
    assert told["prefix"] == str(made.root / ".venv")
    assert made.leftovers() == []


def test_variables_for_another_python_do_not_reach_it(made: Project, tmp_path: Path) -> None:
    """`made` was made under them, too."""
    told = answer(made.run("--branch", "café", "naïve", **hostile(tmp_path)))
    assert told["argv"] == ["--branch", "café", "naïve"]
    assert told["prefix"] == str(made.root / ".venv")


def test_programs_in_the_venv_run_from_where_it_lies(made: Project) -> None:
    """They were written elsewhere, before .venv was moved into its place."""
    script = subprocess.check_output([str(made.root / ".venv/bin/tiny")], text=True)
    assert script == "script 1.0\n"
    foreign = [
        path
        for path in [made.root / ".venv/pyvenv.cfg", *(made.root / ".venv/bin").iterdir()]
        if path.is_file() and b".venv.new" in path.read_bytes()
    ]
    assert foreign == []


def test_it_runs_from_anywhere_and_by_links(made: Project, tmp_path: Path) -> None:
    absolute = tmp_path / "bin" / "inv"
    absolute.parent.mkdir()
    absolute.symlink_to(made.root / "inv")
    chained = tmp_path / "i"
    chained.symlink_to("bin/inv")
    for program in (str(absolute), str(chained), "./i"):
        told = answer(made.run("names", cwd=tmp_path, program=program))
        assert (told["cwd"], told["typed"]) == (str(made.root), program)
    by_path = made.run("names", cwd=tmp_path, program="inv", PATH=f"{absolute.parent}:{_path()}")
    assert (answer(by_path)["argv"], answer(by_path)["typed"]) == (["names"], "inv")
    by_shell = subprocess.check_output(
        ["sh", "inv", "names"], cwd=made.root, env=made.environ(), text=True
    )
    assert json.loads(by_shell)["argv"] == ["names"]


@pytest.mark.parametrize(
    ("args", "passed"),
    [
        (["-f", "my file.yaml", "list"], ["-f", "{cwd}/my file.yaml", "list"]),
        (["-fmy.yaml", "list"], ["-f{cwd}/my.yaml", "list"]),
        (["--config", "my.yaml", "list"], ["--config", "{cwd}/my.yaml", "list"]),
        (["--config=my.yaml", "list"], ["--config={cwd}/my.yaml", "list"]),
        (["-f", "/my.yaml", "list"], ["-f", "/my.yaml", "list"]),
        (["-e", "-T", "5", "-f", "x", "list"], ["-e", "-T", "5", "-f", "{cwd}/x", "list"]),
        # Behind the task's name -f is the task's own: --format, --fix, --follow.
        (["list", "-f", "json"], ["list", "-f", "json"]),
        (["-T", "-f", "list", "-f", "x"], ["-T", "-f", "list", "-f", "x"]),
        ([], []),
    ],
)
def test_a_settings_file_is_named_from_where_one_stands(
    made: Project, tmp_path: Path, args: list[str], passed: list[str]
) -> None:
    told = answer(made.run(*args, cwd=tmp_path))
    assert told["argv"] == [word.replace("{cwd}", str(tmp_path)) for word in passed]


def test_a_stale_venv_is_made_anew_and_the_old_one_stays_until_then(project: Project) -> None:
    assert answer(project.run())["tiny"] == "1.0"
    project.lock("2.0")
    lock = project.root / "requirements.lock"
    right = lock.read_text()
    lock.write_text(f"tiny==2.0 --hash=sha256:{'0' * 64}\n")
    refused = project.run()
    assert refused.returncode == 1
    assert "Hash mismatch for `tiny==2.0`" in refused.stderr
    assert "could not be installed" in refused.stderr
    script = project.root / ".venv" / "bin" / "tiny"
    assert subprocess.check_output([str(script)], text=True) == "script 1.0\n"
    assert project.leftovers() == []

    lock.write_text(right)
    changed = project.run()
    assert (answer(changed)["tiny"], MAKING in changed.stderr) == ("2.0", True)

    # Scripts in .venv/bin name the directory they are in.
    new = project.root.with_name("elsewhere")
    project.root.rename(new)
    project.root = new
    moved = project.run()
    assert (answer(moved)["prefix"], MAKING in moved.stderr) == (str(new / ".venv"), True)

    # By a path with a version in it, so that an upgrade of the system's Python breaks it visibly.
    python = new / ".venv" / "bin" / "python"
    assert python.resolve().name.startswith("python3.")
    for link in python.parent.glob("python*"):
        link.unlink()
        link.symlink_to("/usr/bin/python3.0")
    assert answer(project.run())["tiny"] == "2.0"
    assert project.leftovers() == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_that_breaks_the_next(
    project: Project, signum: signal.Signals
) -> None:
    with silent_index() as (url, server):
        environ = project.environ(PIP_INDEX_URL=url, PIP_FIND_LINKS="")
        del environ["PIP_NO_INDEX"]
        process = subprocess.Popen(
            [str(project.root / "inv")],
            env=environ,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        connection, _ = server.accept()  # pip is at work
        os.killpg(process.pid, signum)
        assert process.wait(timeout=60) != 0
        connection.close()
    assert not (project.root / ".venv").exists()
    if signum is signal.SIGKILL:
        assert answer(project.run())["tiny"] == "1.0"
    assert project.leftovers() == []


def test_what_it_starts_says_in_one_line_that_it_was_interrupted_however_early(
    project: Project,
) -> None:
    answer(project.run())
    tasks = project.root / "tasks"
    (tasks / "app").mkdir()
    shutil.copy2(ROOT / "tasks" / "app" / "early.py", tasks / "app")
    begun = "import time; print('importing', flush=True); time.sleep(60)"
    (tasks / "__init__.py").write_text(f"from tasks.app import early\n{begun}\n")
    process = subprocess.Popen(
        [str(project.root / "inv"), "--list"],
        env=project.environ(),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (
        130,
        "! interrupted; the same command can be run again\n",
    )


def test_of_two_at_once_one_makes_it(project: Project) -> None:
    runs = [
        subprocess.Popen(
            [str(project.root / "inv")],
            env=project.environ(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [(*run.communicate(timeout=300), run.returncode) for run in runs]
    assert [code for _, _, code in ended] == [0, 0, 0], ended
    assert sum(MAKING in said for _, said, _ in ended) == 1
    assert project.leftovers() == []


def test_one_that_finds_packages_being_added_waits_for_them(made: Project) -> None:
    """Until they are there .venv has no copy of the lock: whatever cuts that off, it is stale."""
    copy = made.root / ".venv" / "requirements.lock"
    text = copy.read_text()
    with (made.root / "requirements.lock").open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        copy.unlink()
        run = subprocess.Popen(
            [str(made.root / "inv")],
            env=made.environ(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert run.stderr
        assert run.stderr.readline() == "inv: waiting for another run that makes .venv …\n"
        copy.write_text(text)
    assert run.communicate(timeout=60) == (None, "")
    assert run.returncode == 0


def test_a_python_that_is_named_is_the_one_or_none(project: Project, tmp_path: Path) -> None:
    absent = project.run(PYTHON="python-of-my-own")
    assert (absent.returncode, "python-of-my-own" in absent.stderr) == (1, True)
    old = _script(tmp_path / "old", "case $1 in -V) echo Python 3.9.2 ;; *) exit 1 ;; esac")
    refused = project.run(PYTHON=str(old))
    assert refused.returncode == 1
    assert "3.11 or newer" in refused.stderr
    assert "3.9.2" in refused.stderr
    assert project.leftovers() == []


def test_without_one_the_newest_that_fits_is_taken(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "pythons"
    folder.mkdir()
    old = "case $1 in -V) echo Python 3.9.2 ;; *) exit 1 ;; esac"
    _script(folder / "python3", old)
    _script(folder / "python3.29", old)
    for name in ("sh", "cat", "cmp", "mktemp", "rm", "mv", "cp", "tail", "flock", "readlink", "id"):
        (folder / name).symlink_to(shutil.which(name) or "")
    none = project.run(PATH=str(folder), PYTHON="")
    assert none.returncode == 1
    assert "python3 is Python 3.9.2" in none.stderr
    assert "apt-get install python3 python3-venv" in none.stderr
    (folder / "python3.11").symlink_to(Path(sys.executable).resolve())
    told = answer(project.run(PATH=str(folder), PYTHON=""))
    assert told["python"] == list(sys.version_info[:2])


def _path() -> str:
    return os.environ["PATH"]


def _script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
