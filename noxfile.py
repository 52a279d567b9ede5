"""What checks the project: `nox` runs lint, types and all tests; `nox -s NAME -- ARGS` one session.

The sessions share the one .venv that `./inv` made; it is brought to requirements-dev.lock when that
is missing or has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import nox

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.error_on_external_run = False

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # nox loads this file by its path, without what lies beside it
ARTIFACTS = ROOT / "artifacts"

PROGRAMS = (
    *("integration/test_cli.py", "integration/test_changes.py", "integration/core/test_names.py"),
    *("integration/adapters/test_git.py", "integration/adapters/test_committed.py"),
    *("integration/adapters/test_process.py", "integration/adapters/files"),
    *("integration/adapters/terminal", "integration/test_build_scripts.py"),
)
"""Integration tests that start nothing but git, Python and a shell: any runner of CI can."""

INTERRUPT_GRACE_SECONDS = 60.0
"""Interrupted tests remove their containers; nox's own 0.3 s would leave them behind."""


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style of all files, and Terraform and the charts by checkov."""
    _run(session, "ruff", "format", "--check", ".")
    _run(session, "ruff", "check", ".")
    files = _files(session)
    _run(session, "yamllint", "--strict", *_named(files, "*.yaml", "*.yml"))
    _run(session, "shellcheck", "--external-sources", *filter(_is_shell, files))
    _run(session, "hadolint", *_named(files, "Dockerfile", "*.Dockerfile"))
    # GitLab's own schema, in the version that the lock pins: no network.
    schema = ("--builtin-schema", "vendor.gitlab-ci")
    _run(session, "check-jsonschema", *schema, ".gitlab-ci.yml")
    _run(session, "python", "-m", "tests.support.checkov", str(_own_python(session, "checkov")))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types."""
    _run(session, "mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests in one pytest, the longest first."""
    _pytest(session, "e2e", "integration", "unit")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the unit tests: no sockets, no containers; in CI also what only needs programs."""
    # They never wait and share nothing: a process for each processor, and the tests one by one.
    spread = ("--numprocesses", str(os.cpu_count() or 1), "--dist", "worksteal")
    if not os.environ.get("CI"):
        _pytest(session, "unit", options=spread)
        return
    # GitLab shows the coverage beside a merge request; on a person's machine it would only cost.
    report = f"--cov-report=xml:{ARTIFACTS / 'coverage-unit.xml'}"
    coverage = ("--cov=tasks", "--cov-report=term", report)
    # A pipeline without a runner that has an engine runs no other integration tests.
    _pytest(session, "unit", *PROGRAMS, options=(*spread, *coverage))


@nox.session
def changed(session: nox.Session) -> None:
    """Run the unit and integration tests that reach what differs from the default branch."""
    found = _run(session, "python", "-m", "tests.support.changes", silent=True, log=False).split()
    if not found:
        session.skip("no unit or integration test reaches what has changed")
    _pytest(session, options=tuple(found))


@nox.session
def integration(session: nox.Session) -> None:
    """Run the integration tests: real git, a real Docker Engine, a real registry."""
    _pytest(session, "integration")


@nox.session
def e2e(session: nox.Session) -> None:
    """Run the end-to-end tests: branches built, deployed, opened and removed."""
    _pytest(session, "e2e")


@nox.session
def node(session: nox.Session) -> None:
    """Run the tests on a real node: one of this machine, or what MAUTIC_NODE_CONTEXT names."""
    _pytest(session, "node", through=("python", "-m", "tests.support.realnode"))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the suite against the plain commands, in the same run, and print the ratios."""
    _run(session, "python", "-m", "tests.bench", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Renew the locks from pyproject.toml; `-- --upgrade` takes newer versions."""
    common = ("--quiet", "--universal", "--python-version", "3.11", "--generate-hashes")
    plain = ("--no-emit-index-url", "--no-header")
    for name, options in {
        "requirements.lock": ("pyproject.toml",),
        "requirements-dev.lock": (
            *("pyproject.toml", "--extra", "dev", "--group", "provisioner"),
            *("--constraint", "requirements.lock"),
        ),
        "requirements-install.lock": ("--group", "install"),
        "requirements-checkov.lock": ("--group", "checkov"),
        "docker/platform/provisioner/requirements.lock": (
            *("--group", "provisioner", "--constraint", "requirements.lock"),
        ),
        "docker/platform/entrance/requirements.lock": (
            *("--group", "entrance", "--constraint", "requirements.lock"),
        ),
    }.items():
        argv = ("uv", "pip", "compile", *common, *plain, *options, "-o", name)
        _run(session, *argv, *session.posargs)
        # A lock holds for everybody, wherever they fetch their packages from.
        if "://" in (ROOT / name).read_text():
            session.error(f"{name} names an address")


@nox.session
def docs(session: nox.Session) -> None:
    """Write docs/configuration.md from the settings model, and draw docs/rooms.svg."""
    folder = ROOT / "docs"
    code = "from tasks.core.settings_page import page; print(page(), end='')"
    settings = _run(session, "python", "-c", code, silent=True, log=False)
    (folder / "configuration.md").write_text(settings)
    _node_modules(session)
    draw = (str(ROOT / "node_modules" / ".bin" / "wasm-graphviz-cli"), "--layout=dot")
    drawn = session.run(*draw, "--format=svg", str(folder / "rooms.dot"), silent=True, log=False)
    (folder / "rooms.svg").write_text(str(drawn))


def _run(session: nox.Session, program: str, *args: str, **options: Any) -> str:
    """Run a program of .venv, brought up to requirements-dev.lock before.

    By its full path: what else is on PATH must neither be run nor, worse, installed into.
    """
    from tasks.adapters.host.venv import Venv
    from tasks.adapters.process import Runner
    from tasks.core.errors import SuiteError
    from tasks.core.redact import Redactor

    venv = Venv(Runner(Redactor()), ROOT)
    try:
        venv.prepare(session.log)
    except SuiteError as error:
        session.error("\n".join(error.lines()))
    path = Path(venv.program(program))
    environment = {
        **_dropped(),
        "PATH": f"{path.parent}{os.pathsep}{os.environ['PATH']}",
        # Each worker of pytest would compile everything anew: half of the unit tests' time.
        "PYTHONDONTWRITEBYTECODE": None,
    }
    return str(session.run(str(path), *args, env=environment, **options))


def _pytest(
    session: nox.Session,
    *families: str,
    options: tuple[str, ...] = (),
    through: tuple[str, ...] = (),
) -> None:
    """Run pytest over families of tests, in two processes more than there are processors.

    More than half of their time tests wait for containers, pods and Terraform. Where they share
    what needs processors itself, such as a node, it is one process less.

    Args:
        session: the session.
        families: folders and files below tests/.
        options: of pytest, and files of tests.
        through: a program that runs pytest, and the first words of its arguments.
    """
    ARTIFACTS.mkdir(exist_ok=True)
    # A file or a test that is named takes the place of the families; an option, such as -k, none.
    named = any(word.startswith("tests/") for word in session.posargs)
    if any(word.endswith(("integration", "test_gitlab.py")) for word in (*families, *options)):
        _node_modules(session)
    processes = (os.cpu_count() or 1) + (1 if through else 2)
    _run(
        session,
        *(*through, "python", "-m", "pytest", "--numprocesses", str(processes)),
        # Tests of a file share what they deployed; the files run in the order given here.
        *("--dist", "loadfile", "--no-loadscope-reorder"),
        f"--junit-xml={ARTIFACTS / f'junit-{session.name}.xml'}",
        *options,
        *session.posargs,
        *(() if named else (f"tests/{family}" for family in families)),
        interrupt_timeout=INTERRUPT_GRACE_SECONDS,
        terminate_timeout=INTERRUPT_GRACE_SECONDS,
    )


def _own_python(session: nox.Session, name: str) -> Path:
    """Return the Python of a lock's own environment below .nox; make it unless it is there.

    Args:
        session: the session.
        name: that of the lock, requirements-NAME.lock, and of the folder.
    """
    from tasks.adapters.host import install

    lock, folder = ROOT / f"requirements-{name}.lock", ROOT / ".nox" / name
    python = folder / "bin" / "python"
    with lock.open() as handle:
        # One at a time, if two sessions run at once.
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not install.is_copied(lock, folder):
            _run(session, "python", "-I", "-m", "venv", "--clear", str(folder))
            session.run(str(python), "-I", install.__file__, str(lock), env=_dropped())
    return python


def _node_modules(session: nox.Session) -> None:
    """Install what package-lock.json names, unless it is there: gitlab-ci-local, Graphviz."""
    stamp = ROOT / "node_modules" / ".lock"
    wanted = hashlib.sha256((ROOT / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text().strip() != wanted:
        _run(session, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
        stamp.write_text(f"{wanted}\n")


def _files(session: nox.Session) -> list[str]:
    """Return the project's files: what git knows, and what it would add."""
    listed = session.run(
        *("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        silent=True,
        log=False,
        env=_dropped(),
    )
    return [name for name in str(listed).split("\0") if (ROOT / name).is_file()]


def _dropped() -> dict[str, None]:
    """Return the variables that no program is given: a hook's, that lead to its repository."""
    from tasks.core.variables import inherited_variables

    return dict.fromkeys(os.environ.keys() - inherited_variables(os.environ).keys())


def _named(files: list[str], *patterns: str) -> list[str]:
    return [name for name in files if any(Path(name).match(pattern) for pattern in patterns)]


def _is_shell(name: str) -> bool:
    with (ROOT / name).open("rb") as handle:
        first = handle.readline(80)
    return first.startswith(b"#!") and first.split()[-1].split(b"/")[-1] in {b"sh", b"bash"}
