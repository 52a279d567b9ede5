"""Tracks a rollout until it is done, doomed or aborted, and reports its progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from tasks.adapters.kubernetes.cluster import Cluster
from tasks.adapters.terminal.console import Activity
from tasks.core.kubernetes.rollout import Policy, Verdict, judge
from tasks.flows.kubernetes.report import Reporter
from tasks.flows.kubernetes.watch_cache import WatchCache

POLL_SECONDS = 0.1
"""How soon the end of Helm, or an abort, is noticed."""
JUDGE_SECONDS = 0.2
"""Minimum interval of judgements without changes: patience also runs out then."""


def track(
    cluster: Cluster,
    namespace: str,
    release: str,
    *,
    since: datetime,
    policy: Policy,
    activity: Activity,
    hooks: bool = True,
    serving: bool = False,
    applied: Callable[[], bool] = lambda: True,
    abort: Callable[[], bool] = lambda: False,
) -> Verdict:
    """Watch a release roll out.

    It may be called while manifests are still being applied: a failing hook Job is noticed then,
    but the rollout is never done before everything is applied.

    Args:
        release: the release's name, which is its objects' label app.kubernetes.io/instance.
        since: when the rollout began, by the cluster's clock.
        policy: how patient to be.
        activity: shows the progress.
        hooks: whether this rollout runs hooks; a rollback runs none, and ignores the one that made
            it necessary.
        serving: whether only components that serve visitors count, not workers and crons.
        applied: returns whether all manifests have been applied.
        abort: returns whether to stop tracking.

    Returns:
        A verdict that is done, or has a cause; or neither if it was aborted.

    Raises:
        ClusterError: the API refused a watch, or was unreachable for longer than the patience.
    """
    verdict = Verdict(done=False, cause=None, rows=())
    complete = False
    judged = 0.0
    with WatchCache(cluster, namespace, release, since, hooks=hooks, serving=serving) as cache:
        reporter = Reporter(cluster, namespace, since, activity)
        try:
            while not abort():
                changed = cache.wait(POLL_SECONDS)
                if not complete and applied():
                    cache.catch_up()
                    complete = changed = True
                if not cache.is_whole():
                    continue
                if not changed and time.monotonic() - judged < JUDGE_SECONDS:
                    continue
                judged = time.monotonic()
                now = cluster.now()
                snapshot = replace(cache.snapshot(applied=complete), said=reporter.said())
                verdict = judge(snapshot, started=since, now=now, policy=policy)
                reporter.show(snapshot, verdict.rows, now)
                if verdict.cause or (verdict.done and complete):
                    return verdict
            verdict = Verdict(done=False, cause=None, rows=verdict.rows)
            return verdict
        finally:
            reporter.close(verdict)
