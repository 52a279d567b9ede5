"""The installer of the locks: what they name and nothing else, whatever index and pip there are."""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from virtualenv.seed.wheels.embed import BUNDLE_FOLDER

from tasks.adapters.host import install
from tasks.adapters.host.venv import Venv
from tasks.adapters.process import Runner
from tasks.core.errors import CommandError, MissingToolError, SuiteError
from tasks.core.redact import Redactor
from tests.support.packages import replica, serve, silent_index
from tests.support.suite import ROOT

OLD_PIP = ROOT / "tests" / "support" / "pip.lock"


class World:
    """Both locks over small wheels, and an index that serves these and newer ones.

    Args:
        root: where it is made.
        url: the index.
        wheels: what the index serves.
    """

    def __init__(self, root: Path, url: str, wheels: Path) -> None:
        self.root = root
        self.url = url
        self.wheels = wheels
        self.names: dict[str, list[str]] = {}
        for lock in ("requirements.lock", "requirements-dev.lock", "requirements-install.lock"):
            text, self.names[lock] = replica(ROOT / lock, wheels)
            (root / lock).write_text(text)

    def locks(self, *names: str) -> list[str]:
        """Return the paths of locks."""
        return [str(self.root / name) for name in names]

    def environ(self, **more: str) -> dict[str, str]:
        """Return an environment with this index and nobody's settings."""
        own = {"PATH": os.environ["PATH"], "HOME": str(self.root), "PIP_CONFIG_FILE": os.devnull}
        return {**own, "PIP_INDEX_URL": self.url, **more}

    def run(self, venv: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a Python of a virtual environment."""
        return subprocess.run(
            [str(venv / "bin" / "python"), "-I", *args],
            env=self.environ(**more),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def install(self, venv: Path, *names: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run the installer."""
        return self.run(venv, install.__file__, *self.locks(*names), **more)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    wheels = root / "wheels"
    wheels.mkdir()
    with serve(wheels) as url:
        yield World(root, url, wheels)


@pytest.fixture(scope="module")
def pips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Wheels of pip: the oldest that the README promises (Debian 12's), and a new one."""
    folder = tmp_path_factory.mktemp("pips")
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*argv, "-r", str(OLD_PIP), "-d", str(folder)], check=True)
    old = next(folder.glob("pip-*.whl"))
    return {"old": old, "new": max(BUNDLE_FOLDER.glob("pip-*.whl"))}


def make_venv(path: Path, pip: Path) -> Path:
    """Make a virtual environment with a pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    with zipfile.ZipFile(pip) as archive:
        archive.extractall(site_packages(path))
    return path


def site_packages(venv: Path) -> Path:
    """Return where its packages are."""
    return next((venv / "lib").glob("python3*")) / "site-packages"


def releases(*path: str) -> dict[str, str]:
    """Return the version of each package that is installed in places, but not of what installs."""
    found = {
        re.sub(r"[-_.]+", "-", each.name).lower(): each.version
        for each in importlib.metadata.distributions(path=list(path or sys.path))
    }
    return {name: found[name] for name in found.keys() - {"pip", "setuptools", "uv"}}


def expected(lock: str) -> dict[str, str]:
    """Return what a lock of the project names for this Python."""
    text = (ROOT / lock).read_text()
    here = releases().items()
    return {name: version for name, version in here if f"{name}=={version} " in text}


HOSTILE = {
    "PIP_CONSTRAINT": "/nonexistent",
    "PIP_DRY_RUN": "1",
    "PIP_NO_BINARY": ":all:",
    "PIP_NO_DEPS": "1",
    "PIP_PREFIX": "/nonexistent",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_ROOT": "/nonexistent",
    "PIP_TARGET": "/nonexistent",
    "PIP_USER": "1",
    "PYTHONPATH": "/nonexistent",
    "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
    "UV_EXCLUDE_NEWER": "2001-01-01",
    "UV_NO_BINARY": "1",
    "UV_OFFLINE": "1",
    "UV_PYTHON": "/nonexistent",
    "UV_SYSTEM_PYTHON": "1",
    "VIRTUAL_ENV": "/nonexistent",
    "HOME": "/proc/nonexistent",
}
"""What people set for other work, and a home that cannot be written to."""


@pytest.mark.parametrize(("which", "more"), [("old", {}), ("new", HOSTILE)], ids=["old", "new"])
def test_locks_are_installed_as_they_are_though_the_index_has_newer_releases(
    world: World, pips: dict[str, Path], tmp_path: Path, which: str, more: dict[str, str]
) -> None:
    venv = make_venv(tmp_path / "venv", pips[which])
    both = ["requirements.lock", "requirements-dev.lock"]
    for names in (both, both[:1]):  # then without what only the larger one names
        done = world.install(venv, *names, **more)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stderr
        assert releases(str(site_packages(venv))) == expected(names[-1])
        copies = {path.name for path in venv.glob("requirements*.lock")}
        assert copies == {*names, install.INSTALL_LOCK}


def test_the_index_is_one_that_pip_by_itself_fails_with(
    world: World, pips: dict[str, Path], tmp_path: Path
) -> None:
    """Else the test above would hold for an installer that resolves."""
    venv = make_venv(tmp_path / "venv", pips["old"])
    argv = ["-m", "pip", "install", "--dry-run", "--quiet", "--require-hashes", "-r"]
    done = world.run(venv, *argv, *world.locks("requirements-dev.lock"))
    assert done.returncode == 1
    assert "all requirements must have their versions pinned" in done.stderr


def test_an_index_that_is_away_is_one_line_with_its_host(
    world: World, pips: dict[str, Path], tmp_path: Path
) -> None:
    venv = make_venv(tmp_path / "venv", pips["old"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://token:secret@127.0.0.1:{port}/simple"
    done = world.install(venv, "requirements.lock", PIP_INDEX_URL=url, PIP_RETRIES="0")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("inv: the package index (127.0.0.1;")
    assert "pip config list" in line
    assert f"127.0.0.1:{port}: Connection refused" in line
    assert "secret" not in line


def test_one_that_was_cut_off_is_not_taken_for_whole(
    world: World, pips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lock in world.names:
        (tmp_path / lock).write_text((world.root / lock).read_text())
    made = make_venv(tmp_path / ".venv", pips["old"])
    (made / "requirements.lock").write_text((world.root / "requirements.lock").read_text())
    for name, text in world.environ(PIP_FIND_LINKS="").items():
        monkeypatch.setenv(name, text)
    venv = Venv(Runner(Redactor()), tmp_path)
    with silent_index() as (url, server):
        monkeypatch.setenv("PIP_INDEX_URL", url)
        errors: list[BaseException] = []

        def prepare() -> None:
            try:
                venv.prepare(print)
            except SuiteError as error:
                errors.append(error)

        thread = threading.Thread(target=prepare)
        thread.start()
        connection, _ = server.accept()
        assert list(made.glob("requirements*.lock")) == []
        connection.close()
    thread.join(60)
    assert [type(error) for error in errors] == [CommandError]
    assert not venv.is_ready()
    with pytest.raises(MissingToolError, match="no complete"):
        venv.prepare(print)


def test_uv_reaches_packages_as_pip_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    there = tmp_path / "wheels"
    there.mkdir()
    (tmp_path / "pip.conf").write_text(
        "[global]\n"
        "index-url = https://me:word@pypi.example.org/simple\n"
        "timeout = 5\n"
        f"find-links =\n    {there}\n    {tmp_path}/away\n    https://example.org/links\n"
        "constraint = /nonexistent\n"
        "[install]\n"
        "extra-index-url =\n    https://one.example.org/simple\n    https://two.example.org/simple\n"
        "timeout = 7.5\n"
    )
    more = {"UV_INDEX": "x", "PIP_TRUSTED_HOST": "one.example.org", "PIP_PROXY": "proxy:3128"}
    more |= {"PIP_CERT": "/ca.pem", "PIP_CLIENT_CERT": "/me.pem", "PIP_TARGET": "/tmp/x"}
    more |= {"PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "3", "PIP_KEYRING_PROVIDER": "subprocess"}
    for name, text in {**more, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}.items():
        monkeypatch.setenv(name, text)
    options = install.pip_options()
    told = {
        key: text
        for key, text in install.uv_environment(options).items()
        if os.environ.get(key) != text
    }
    assert told == {
        "HTTPS_PROXY": "proxy:3128",
        "HTTP_PROXY": "proxy:3128",
        "SSL_CERT_FILE": "/ca.pem",
        "SSL_CLIENT_CERT": "/me.pem",
        "UV_DEFAULT_INDEX": "https://me:word@pypi.example.org/simple",
        "UV_FIND_LINKS": f"{there},https://example.org/links",
        "UV_HTTP_RETRIES": "3",
        "UV_HTTP_TIMEOUT": "7",
        "UV_INDEX": "https://one.example.org/simple https://two.example.org/simple",
        "UV_INSECURE_HOST": "one.example.org",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_NO_CACHE": "1",
    }
    own = {key for key in install.pip_environment(options) if key.startswith("PIP_")}
    assert own == {
        *("PIP_CERT", "PIP_CLIENT_CERT", "PIP_CONFIG_FILE", "PIP_EXTRA_INDEX_URL"),
        *("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_KEYRING_PROVIDER", "PIP_NO_CACHE_DIR"),
        *("PIP_PROXY", "PIP_RETRIES", "PIP_TIMEOUT", "PIP_TRUSTED_HOST"),
    }


@pytest.mark.parametrize("environment", [install.pip_environment, install.uv_environment])
def test_pythons_own_variables_do_not_reach_the_python_that_builds_a_package(
    environment: Callable[[Mapping[str, str]], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, "/nonexistent")
    assert not {name for name in environment({}) if name.startswith("PYTHON")}


def test_the_dev_lock_holds_all_of_the_other() -> None:
    """So that .venv can be brought to it under a program that runs."""
    dev = _entries(ROOT / "requirements-dev.lock")
    for name, entry in _entries(ROOT / "requirements.lock").items():
        assert dev[name] == entry, name


def _entries(lock: Path) -> dict[str, str]:
    """Return the pin and hashes of each package in a lock."""
    kept = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    found = "\n".join(kept).replace(" \\\n", "").splitlines()
    return {line.split("==")[0]: line for line in found}


WRITES = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(bytes(2000))"


@pytest.mark.parametrize(
    "program",
    [
        # As pip does, which is told of it; and as uv does, which is ended.
        [sys.executable, "-c", WRITES],
        ["dd", "if=/dev/zero", "bs=2000", "count=1", "of=big"],
    ],
    ids=["python", "program"],
)
def test_what_installs_writes_no_file_without_end(tmp_path: Path, program: list[str]) -> None:
    code = (
        "import os; from tasks.adapters.host import install; install.FILE_BYTES = 1000; "
        "install.limit_files(); "
        f"install._run({[*program, *(['big'] if program[0] == sys.executable else [])]!r}, "
        "dict(os.environ), {})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "InstallError" in done.stderr
    assert "File too large" in done.stderr or "is larger than 1000 bytes" in done.stderr
    assert (tmp_path / "big").stat().st_size <= 1000
