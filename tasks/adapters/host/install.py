"""Install locks into a virtual environment: ``python -I tasks/adapters/host/install.py LOCK...``.

The environment is that of the running Python. Afterwards it holds exactly the packages of the
locks, each verified by its hash, and a copy of each lock, which shows that it is up to date.
Nothing is resolved, so a newer release in the package index changes nothing.

pip installs uv from ``requirements-install.lock``; uv installs everything else, in a fraction of
pip's time. Of pip's configuration only the options that say how to reach the package index are
used: others (constraints, another target, no wheels …), and uv's own configuration, would give
another environment for the same locks.

./inv, nox and the CI image run it before any package is installed, so it imports only the standard
library.
"""

from __future__ import annotations

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C while the rest is loaded ends this at once, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import ast
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

PYPI = "https://pypi.org/simple"
INSTALL_LOCK = "requirements-install.lock"
PROBE_SECONDS = 5.0
TAIL_LINES = 20

FILE_BYTES = 512 * 1024**2
"""The largest file that pip and uv may write: an index that sends more is not listened to."""

PIP = (sys.executable, "-I", "-m", "pip", "--disable-pip-version-check")

REACH = {
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
    *("cert", "client-cert", "proxy", "retries", "timeout", "default-timeout"),
    *("keyring-provider", "cache-dir", "no-cache-dir"),
}
"""pip's options on how to reach package indexes (pip.pypa.io/en/stable/cli/pip_install/)."""

SAME = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "client-cert": "SSL_CLIENT_CERT",
    "retries": "UV_HTTP_RETRIES",
}
"""uv's variables that take the same values (docs.astral.sh/uv/reference/environment/)."""


class InstallError(Exception):
    """The locks could not be installed; the message is for the user."""


def main(locks: list[Path]) -> None:
    """Install locks into the environment of this Python.

    Raises:
        InstallError: it failed. The environment may be incomplete, and has no copies of locks.
    """
    if sys.prefix == sys.base_prefix:
        raise InstallError(f"{sys.executable} is not the Python of a virtual environment")
    venv = Path(sys.prefix)
    install_lock = locks[0].with_name(INSTALL_LOCK)
    options = pip_options()
    has_uv = is_copied(install_lock, venv)
    for copy in venv.glob("requirements*.lock"):
        copy.unlink()
    if not has_uv:
        _run([*PIP, *_pip_arguments(install_lock)], pip_environment(options), options)
    # A project has the suite's own wheel beside its lock.
    folders = {lock.parent: None for lock in locks}
    environment = uv_environment(options, folders)
    _run(uv_command(venv, install_lock, locks, options), environment, options)
    for lock in (install_lock, *locks):
        shutil.copyfile(lock, venv / lock.name)


def is_copied(lock: Path, venv: Path) -> bool:
    """Return True if an environment's copy of a lock is up to date."""
    copy = venv / lock.name
    return copy.exists() and copy.read_bytes() == lock.read_bytes()


def pip_options() -> dict[str, str]:
    """Return how pip is configured to reach packages, from its files and variables.

    Raises:
        InstallError: pip cannot read its configuration.
    """
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        raise InstallError(f"pip cannot read its configuration:\n{listed.stderr.strip()}")
    options = {}
    # The later one counts (pip.pypa.io/en/stable/topics/configuration/#precedence-override-order).
    for section in ("global.", "install.", ":env:."):
        for line in listed.stdout.splitlines():
            key, _, value = line.partition("=")
            name = key.removeprefix(section).replace("_", "-")
            text = str(ast.literal_eval(value)) if key.startswith(section) else ""
            if name in REACH and text:
                options[name] = text
    return options


def pip_environment(options: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of pip: of its configuration, only ``options``."""
    chosen = {f"PIP_{name.replace('-', '_').upper()}": text for name, text in options.items()}
    return {**_plain_environment(), **chosen, "PIP_CONFIG_FILE": os.devnull}


def _pip_arguments(lock: Path) -> list[str]:
    exact = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(lock)]
    return ["install", "--quiet", "--no-input", "--no-compile", *exact]


def uv_command(
    venv: Path, install_lock: Path, locks: list[Path], options: Mapping[str, str]
) -> list[str]:
    """Return the uv command that installs ``locks`` and removes what they do not name."""
    argv = [str(venv / "bin" / "uv"), "pip", "sync", "--no-config", "--color", "never"]
    argv += ["--no-progress", "--python", sys.executable, "--require-hashes"]
    # pip takes a release from whichever index has it, and trusts what the system trusts.
    argv += ["--index-strategy", "unsafe-best-match", "--system-certs"]
    # A linked file would be the cache's own: what is changed in .venv would be changed for all.
    argv += ["--link-mode", "copy"]
    if options.get("no-index", "").lower() in {"1", "y", "yes", "t", "true", "on"}:
        argv += ["--no-index"]
    # Some packages have no wheel: what builds them is locked as well.
    return [*argv, "--build-constraints", str(install_lock), *map(str, locks)]


def uv_environment(options: Mapping[str, str], beside: Iterable[Path] = ()) -> dict[str, str]:
    """Return the environment of uv: it reaches packages as pip does.

    Args:
        options: pip's.
        beside: folders whose wheels are found as well.
    """
    environment = _plain_environment()
    for name, variable in SAME.items():
        if name in options:
            environment[variable] = " ".join(options[name].split())
    links = [link for link in options.get("find-links", "").split() if _may_exist(link)]
    links += [str(folder) for folder in beside if any(folder.glob("*.whl"))]
    if links:
        environment["UV_FIND_LINKS"] = ",".join(links)
    bundles = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    bundle = next(filter(None, (options.get("cert"), *bundles)), None)
    if bundle:
        environment["SSL_CERT_FILE"] = bundle
    timeout = options.get("timeout") or options.get("default-timeout")
    if timeout:
        environment["UV_HTTP_TIMEOUT"] = str(max(1, int(float(timeout))))
    if "proxy" in options:
        environment.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), options["proxy"]))
    if options.get("keyring-provider") == "subprocess":
        environment["UV_KEYRING_PROVIDER"] = "subprocess"
    if "no-cache-dir" in options or not _has_cache(environment):
        environment["UV_NO_CACHE"] = "1"
    return environment


def _plain_environment() -> dict[str, str]:
    """Return this environment without the variables of pip, uv and Python, except uv's cache.

    Both start Python to build what has no wheel, and cannot be told to isolate it.
    """
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PIP_", "UV_", "PYTHON")) or name == "UV_CACHE_DIR"
    }


def _may_exist(link: str) -> bool:
    """Return True if uv accepts a link: unlike pip it fails on a missing folder."""
    return "://" in link or Path(link).expanduser().exists()


def _has_cache(environment: Mapping[str, str]) -> bool:
    """Return True if uv can write its cache: unlike pip it fails if it cannot."""
    base = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "/")) / ".cache"
    folder = Path(environment.get("UV_CACHE_DIR") or Path(base) / "uv")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def limit_files() -> None:
    """Limit what this process and the programs that it starts write into one file."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limit = FILE_BYTES if hard == resource.RLIM_INFINITY else min(FILE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


def _run(argv: list[str], environment: dict[str, str], options: Mapping[str, str]) -> None:
    """Run pip or uv quietly, unless it fails."""
    done = subprocess.run(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    if done.returncode == -signal.SIGXFSZ:
        raise InstallError(f"a package is larger than {FILE_BYTES} bytes: {argv[0]} was ended")
    urls = [options.get("index-url", PYPI), *options.get("extra-index-url", "").split()]
    hosts = dict.fromkeys(filter(None, (urlsplit(url).hostname for url in urls)))
    away = [reason for url in urls if (reason := _unreachable(url, options.get("proxy")))]
    source = f"the package index ({', '.join(hosts)}; `pip config list` shows who names it)"
    if away and "no-index" not in options:
        raise InstallError(f"{source} cannot be reached: {'; '.join(away)}")
    tail = "\n".join(done.stdout.splitlines()[-TAIL_LINES:])
    # Both hide passwords, but not every name or token before an @.
    shown = re.sub(r"://[^/@\s]*@", "://", tail)
    raise InstallError(f"{shown}\nthe packages could not be installed from {source}")


def _unreachable(url: str, proxy: str | None) -> str | None:
    """Return why an index, or its proxy, cannot be reached; None if it can."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    if not proxy and not proxy_bypass(parts.hostname):
        proxy = getproxies().get(parts.scheme)
    if proxy:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), PROBE_SECONDS).close()
    except OSError as error:
        return f"{host}:{port}: {error.strerror or error}"
    return None


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    limit_files()
    try:
        main([Path(name).absolute() for name in sys.argv[1:]])
    except InstallError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"inv: {line}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
