"""One Helm upgrade, watched: a doomed one is ended in seconds, a good one when it has settled."""

from __future__ import annotations

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
WARNING = "level=WARN"
"""What the lines of Helm's that nobody may miss have in them."""
TELL_SECONDS = 2.0
"""How long a failure of Helm's waits for a better explanation: Helm names the hook, the API the
reason."""


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

    Helm applies and waits for its hooks in a thread of its own; meanwhile everything it makes is
    watched, so that a hook whose image cannot be pulled does not use up its time-out.

    Args:
        chart: the chart's directory.
        values: the values of this very deploy.
        files: values files below them.
        policy: how patient to be.
        timeout_seconds: for each hook.
        activity: told what happens.

    Raises:
        SuiteError: the rollout is doomed, or Helm failed; the message names the cause.
    """
    since = cluster.now()

    def on_line(line: str) -> None:
        # What Helm tells of a release that it has applied, the release's rows tell better; and
        # that it was ended in the middle is no warning.
        if activity.panel or (WARNING in line and not running.is_given_up):
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
        activity.say(APPLIED)

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
    """Return when a release has settled whose manifests are applied, and which runs no hooks.

    Args:
        policy: how patient to be.
        activity: told what happens.
        since: when its manifests began to be applied, by the cluster's clock.
        serving: whether only what serves visitors is waited for.

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
    """Helm in a thread of its own: what it came to, and how to end it."""

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
        """End it, if it runs, and wait for that."""
        with self._lock:
            self.is_given_up = True
            if self._end and not self.ended.is_set():
                self._end()
        self._thread.join()

    def failed_for(self) -> bool:
        """Return True if it failed, long enough ago for the watches to have told why."""
        return self.error is not None and time.monotonic() - self._failed_at > TELL_SECONDS

    def _work(self) -> None:
        def started(end: Callable[[], None]) -> None:
            with self._lock:
                self._end = end
                if self.is_given_up:  # given up while Helm was still looked for
                    end()

        try:
            self._run(started)
        except Exception as error:  # raised by `upgrade`, in the thread that wants to know
            self._failed_at = time.monotonic()
            self.error = error
        finally:
            self.ended.set()
