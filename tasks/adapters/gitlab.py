"""Prepares a run inside a GitLab job: writes credentials to files and waits for the engine.

Everything is undone after the task.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.adapters.files.private import write_private
from tasks.adapters.registry.docker_login import CONFIG, login, parse_config
from tasks.adapters.wait import wait_until
from tasks.core.errors import EngineError, SettingsError
from tasks.core.redact import Redactor

if TYPE_CHECKING:
    from tasks.adapters.docker.engine import Engine

ENGINE_SECONDS = 120.0
"""How long the job's engine may take to start: docker:dind makes its certificates first."""

POLL_SECONDS = 1.0

LOGINS = "DOCKER_AUTH_CONFIG"
"""The CI/CD variable with a project's logins to other registries."""

SECRETS = (
    "AWS_ID_TOKEN",
    "KUBE_ID_TOKEN",
    "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD",
    "CI_REPOSITORY_URL",
    "GITLAB_NOTE_TOKEN",
    "GITLAB_TOKEN",
)
"""Variables of .gitlab-ci.yml, GitLab's predefined ones, and those of its API, with secrets."""


def is_job(environ: MutableMapping[str, str]) -> bool:
    """Return True if this process runs in a pipeline's job."""
    return bool(environ.get("CI")) and "CI_JOB_ID" in environ


@contextlib.contextmanager
def prepared_job(
    argv: Sequence[str],
    *,
    say: Callable[[str], None],
    redactor: Redactor,
    environ: MutableMapping[str, str] = os.environ,
) -> Iterator[None]:
    """Prepare what a task needs in a job; outside of jobs do nothing.

    Args:
        argv: the words of the command line after ``inv``.
        say: called with the equivalent local command, and when there is a wait.
        redactor: gets GitLab's secrets.
        environ: this process's environment; it gets paths of files with credentials.

    Raises:
        EngineError: the job's engine does not answer in time.
        SettingsError: the project's logins cannot be read.
    """
    if not is_job(environ):
        yield
        return
    for name in SECRETS:
        redactor.add(environ.get(name, ""))
    commit = environ.get("CI_COMMIT_SHORT_SHA", "")
    at = f"  (at {commit})" if commit else ""
    say(f"the same on your machine: ./inv {shlex.join(argv)}{at}")
    with (
        tempfile.TemporaryDirectory(prefix="inv-job-") as scratch,
        _changed(environ, _credentials(environ, Path(scratch))),
    ):
        if environ.get("DOCKER_HOST"):
            from tasks.adapters.docker.engine import Engine

            await_engine(Engine(), say)
        yield


def await_engine(
    engine: Engine, say: Callable[[str], None], wait_seconds: float = ENGINE_SECONDS
) -> None:
    """Wait until an engine answers: a job does not wait for its services to start.

    Args:
        engine: the engine.
        say: called once if it has to wait.
        wait_seconds: how long to wait.

    Raises:
        EngineError: it does not answer in time.
    """
    problems: list[EngineError] = []

    def answers() -> bool:
        try:
            engine.networks()
        except EngineError as error:
            if not problems:
                say("waiting for the job's engine …")
            problems.append(error)
            return False
        return True

    def late(_: str) -> EngineError:
        problems[-1].hint = (
            "is the runner's `privileged` on, and /certs/client among its volumes? "
            "See docs/gitlab.md"
        )
        return problems[-1]

    wait_until(
        "the job's engine does not answer",
        answers,
        deadline_seconds=wait_seconds,
        poll_seconds=POLL_SECONDS,
        late=late,
    )


def _credentials(environ: MutableMapping[str, str], scratch: Path) -> dict[str, str | None]:
    """Write the job's credentials into private files; return what to set, and what to unset."""
    changes: dict[str, str | None] = {}
    token, role = environ.get("AWS_ID_TOKEN"), environ.get("AWS_ROLE_ARN", "")
    if not role.startswith("arn:"):
        # GitLab leaves a variable that refers to an unset one empty, or as it stands.
        changes["AWS_ROLE_ARN"] = None
    elif token:
        changes["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(
            write_private(scratch / "aws-token", token.encode())
        )
        changes["AWS_ID_TOKEN"] = None
        # What AWS's own records name the job by.
        changes["AWS_ROLE_SESSION_NAME"] = f"gitlab-job-{environ['CI_JOB_ID']}"
    password = environ.get("CI_REGISTRY_PASSWORD")
    if password and environ.get("CI_REGISTRY"):
        own = login(environ.get("CI_REGISTRY_USER", ""), password)
        # What the project itself gives jobs for other registries stays good.
        given = _given_logins(environ)
        auths = {environ["CI_REGISTRY"]: own, **(given.get("auths") or {})}
        config = {**given, "auths": auths}
        write_private(scratch / CONFIG, json.dumps(config).encode())
        changes["DOCKER_CONFIG"] = str(scratch)
    return changes


def _given_logins(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        return parse_config(environ.get(LOGINS) or "{}", LOGINS)
    except SettingsError as error:
        error.hint = "it must be the text of a Docker config.json: docs/gitlab.md"
        raise


@contextlib.contextmanager
def _changed(environ: MutableMapping[str, str], changes: dict[str, str | None]) -> Iterator[None]:
    """Change the environment, for the programs that are run too, and change it back."""
    before = {name: environ.get(name) for name in changes}
    _set(environ, changes)
    try:
        yield
    finally:
        _set(environ, before)


def _set(environ: MutableMapping[str, str], values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
