"""Runs a Helm upgrade and tracks it: a doomed one is ended early, a good one when it settles."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.kubernetes.helm import Helm
from tasks.adapters.process import OnStart
from tasks.adapters.terminal.console import Activity
from tasks.core.errors import SuiteError
from tasks.core.kubernetes.rollout import Policy, Verdict
from tasks.core.names import Names
from tasks.flows.kubernetes.track import track

APPLIED = "everything is applied"
_WARNING = re.compile(r'level=WARN (?!msg="(install|upgrade) failed")')
"""Matches Helm's lines that must be shown; that it failed is told by its error, or a better one."""
TELL_SECONDS = 2.0
"""How long a failure of Helm is held back for a better explanation: Helm only names the hook, the
API the reason."""


def upgrade(
    cluster: Cluster,
    helm: Helm,
    names: Names,
    *,
    chart: Path,
    values: Mapping[str, Any],
    files: tuple[Path, ...],
    policy: Policy,
    timeout_seconds: int,
    activity: Activity,
) -> None:
    """Install or upgrade a branch's release, and return when it has settled.

    Helm applies manifests and waits for hooks in its own thread. Meanwhile its objects are watched,
    so that a hook whose image cannot be pulled does not use up its timeout.

    Args:
        chart: the chart's directory.
        values: the values of this deploy.
        files: values files with lower precedence.
        policy: how patient to be.
        timeout_seconds: timeout of each hook.
        activity: shows the progress.

    Raises:
        SuiteError: the rollout is doomed, or Helm failed; the message names the cause.
    """
    since = cluster.now()

    def on_line(line: str) -> None:
        # Other lines are less useful than the rows of the workloads; and a warning that Helm was
        # interrupted is expected after an abort.
        if activity.panel or (is_warning(line) and not running.is_given_up):
            activity.line(line)

    def apply(started: OnStart) -> None:
        helm.upgrade(
            names.release,
            names.namespace,
            chart,
            values,
            files=files,
            timeout_seconds=timeout_seconds,
            on_line=on_line,
            on_start=started,
        )
        activity.note(APPLIED)

    running = _Running(apply)
    running.start()
    try:
        verdict = track(
            cluster,
            names.namespace,
            names.release,
            since=since,
            policy=policy,
            activity=activity,
            applied=lambda: running.ended.is_set() and running.error is None,
            abort=running.failed_for,
        )
    finally:
        running.end()
    _raise_cause(verdict)
    if running.error:
        raise running.error


def is_warning(line: str) -> bool:
    """Return True if a line of Helm's is a warning that nothing else tells of."""
    return _WARNING.search(line) is not None


def wait_settled(
    cluster: Cluster,
    namespace: str,
    release: str,
    policy: Policy,
    activity: Activity,
    *,
    since: datetime,
    serving: bool = False,
) -> None:
    """Wait until a release without hooks has settled after its manifests were applied.

    Args:
        policy: how patient to be.
        activity: shows the progress.
        since: when its manifests began to be applied, by the cluster's clock.
        serving: whether only components that serve visitors count.

    Raises:
        SuiteError: it is doomed; the message names the cause.
    """
    _raise_cause(
        track(
            cluster,
            namespace,
            release,
            since=since,
            policy=policy,
            activity=activity,
            hooks=False,
            serving=serving,
        )
    )


def _raise_cause(verdict: Verdict) -> None:
    if verdict.cause:
        raise SuiteError(verdict.cause.line(), hint=verdict.cause.rule.advice)


class _Running:
    """Runs Helm in a thread, keeps its error, and can end it early."""

    def __init__(self, run: Callable[[OnStart], None]) -> None:
        self._run = run
        self._end: Callable[[], None] | None = None
        self._thread = threading.Thread(target=self._work, name="helm", daemon=True)
        self.ended = threading.Event()
        self.error: Exception | None = None
        self._failed_at = 0.0
        self._lock = threading.Lock()
        self.is_given_up = False

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def end(self) -> None:
        """End Helm if it runs, and wait for the thread."""
        with self._lock:
            self.is_given_up = True
            if self._end and not self.ended.is_set():
                self._end()
        self._thread.join()

    def failed_for(self) -> bool:
        """Return True if Helm failed long enough ago for the watches to have shown why."""
        return self.error is not None and time.monotonic() - self._failed_at > TELL_SECONDS

    def _work(self) -> None:
        def started(end: Callable[[], None]) -> None:
            with self._lock:
                self._end = end
                if self.is_given_up:  # aborted while Helm was being located
                    end()

        try:
            self._run(started)
        except Exception as error:  # raised again by `upgrade`, in its thread
            self._failed_at = time.monotonic()
            self.error = error
        finally:
            self.ended.set()
