"""Helm: installs and rolls back releases, and converts its errors.

Of Helm 4's flags (helm.sh, v4 docs): it waits for hooks, but not for workloads. The suite tracks
those itself, so that a doomed rollout ends in seconds and its diagnostics are saved before the
rollback.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.adapters.process import OnStart, Runner
from tasks.core.errors import (
    CommandError,
    DeadlineError,
    InputError,
    RevisionExistsError,
)

REASON_LENGTH = 500
CHECK_SECONDS = 60
"""How long rendering a chart may take; usually it takes less than one."""
EXISTS = "release: already exists"
"""Helm's error if a revision was created after it read the history (pkg/storage/driver,
``ErrReleaseExists``)."""
PENDING = frozenset({"pending-install", "pending-upgrade", "pending-rollback"})


@dataclass(frozen=True)
class Revision:
    """One revision of a release.

    Attributes:
        number: counted from 1.
        status: ``deployed``, ``superseded``, ``failed``, ``pending-…``, ``uninstalling``.
    """

    number: int
    status: str

    @property
    def is_pending(self) -> bool:
        """Whether an operation on it has neither finished nor failed."""
        return self.status in PENDING


class Helm:
    """Runs helm against one cluster.

    Args:
        runner: runs it.
        find: returns its path; asked when Helm is first needed.
        context: the kubeconfig's context.
        kubeconfig: the kubeconfig's path; None takes KUBECONFIG or the user's own.
    """

    def __init__(
        self,
        runner: Runner,
        find: Callable[[], Path],
        context: str | None,
        kubeconfig: str | None,
    ) -> None:
        self._runner = runner
        self._find = find
        self._found: Path | None = None
        self._finding = threading.Lock()
        # Releases are kept in Secrets, whatever this machine's own Helm does.
        self._env = {"HELM_NAMESPACE": "", "HELM_DRIVER": "secret"}
        if context:
            self._env["HELM_KUBECONTEXT"] = context
        if kubeconfig:
            self._env["KUBECONFIG"] = kubeconfig

    @property
    def _program(self) -> str:
        with self._finding:
            if self._found is None:
                self._found = self._find()
        return str(self._found)

    def upgrade(
        self,
        release: str,
        namespace: str,
        chart: Path,
        values: Mapping[str, Any],
        *,
        files: tuple[Path, ...] = (),
        timeout_seconds: int,
        on_line: Callable[[str], None] | None = None,
        on_start: OnStart | None = None,
    ) -> None:
        """Install or upgrade a release, and wait for its hooks.

        Args:
            namespace: its namespace; it must exist.
            chart: the chart's directory.
            values: the values of this deploy, passed by stdin.
            files: values files with lower precedence; the later ones win.
            timeout_seconds: timeout of each hook.
            on_line: called with each line of helm's output.
            on_start: receives a function that ends helm early; helm marks the release as failed.

        Raises:
            RevisionExistsError: another process has created the revision in the meantime.
            CommandError: helm failed, or a hook did.
        """
        self._run(
            "upgrade",
            release,
            namespace,
            str(chart),
            "--install",
            "--hide-notes",
            # The chart decides; what was quiesced for a migration starts again this way.
            "--force-conflicts",
            f"--timeout={timeout_seconds}s",
            "--history-max=10",
            *(f"--values={path}" for path in files),
            # By stdin: a killed run leaves no file behind.
            "--values=-",
            stdin=json.dumps(values),
            on_line=on_line,
            on_start=on_start,
        )

    def render(
        self,
        release: str,
        namespace: str,
        chart: Path,
        values: Mapping[str, Any],
        *,
        files: tuple[Path, ...] = (),
    ) -> str:
        """Return the manifests that a chart makes of its values, without asking the cluster.

        Arguments are those of ``upgrade``.

        Raises:
            InputError: the chart refuses them; the message says which, and why.
        """
        try:
            return self._run(
                "template",
                release,
                namespace,
                str(chart),
                *(f"--values={path}" for path in files),
                "--values=-",
                stdin=json.dumps(values),
                deadline=CHECK_SECONDS,
            )
        except CommandError as error:
            raise InputError(
                f"the chart refuses its values{_reason(error.output or '')}",
                hint="what runs was left as it is; correct the values files of the environment",
            ) from error

    def rollback(
        self, release: str, namespace: str, revision: int, *, timeout_seconds: int
    ) -> None:
        """Roll a release back to a revision; hooks are not run again."""
        self._run(
            "rollback",
            release,
            namespace,
            str(revision),
            "--no-hooks",
            "--force-conflicts",
            f"--timeout={timeout_seconds}s",
            deadline=timeout_seconds,
        )

    def _run(
        self,
        verb: str,
        release: str,
        namespace: str,
        *options: str,
        stdin: str = "",
        deadline: float | None = None,
        on_line: Callable[[str], None] | None = None,
        on_start: OnStart | None = None,
    ) -> str:
        argv = [self._program, verb, release, *options, f"--namespace={namespace}"]
        try:
            done = self._runner.run(
                argv,
                env=self._env,
                stdin=stdin,
                deadline=deadline,
                on_line=on_line,
                on_start=on_start,
            )
        except DeadlineError as error:
            error.message = f"helm {verb} of {release} did not end in {deadline:.0f} s"
            raise
        except CommandError as error:
            error.message = f"helm {verb} of {release} failed{_reason(error.output or '')}"
            if EXISTS in error.message:
                raise RevisionExistsError(error.message, output=error.output) from error
            raise
        return done.stdout


def revision_secret_name(release: str, revision: int | str) -> str:
    """Return the name of the Secret that Helm keeps a revision in."""
    return f"sh.helm.release.v1.{release}.v{revision}"


def _reason(output: str) -> str:
    """Return what helm gave as its error, in one line."""
    words = " ".join(output.rpartition("Error: ")[2].split())
    return f": {words[:REASON_LENGTH]}" if words else ""
