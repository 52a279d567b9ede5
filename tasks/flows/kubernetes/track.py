"""Watching a rollout: until it is done, doomed or given up on, telling what happens meanwhile."""

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
"""How soon a finished Helm, or a request to give up, is noticed."""
JUDGE_SECONDS = 0.2
"""How often a rollout is judged at least: patience runs out without anything changing."""


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

    May be called while the manifests are still being applied: a hook Job that fails is told then,
    too, but nothing is done before everything is applied.

    Args:
        release: the release's name; its objects bear it as app.kubernetes.io/instance.
        since: when the rollout began, by the cluster's clock.
        policy: how patient to be.
        activity: told what happens.
        hooks: whether this rollout runs hooks; a rollback runs none, and the hook that made it
            necessary is no concern of it.
        serving: whether only what serves visitors counts; workers and scheduled commands come up
            when they can.
        applied: says whether all manifests have been applied.
        abort: says whether to give up.

    Returns:
        A verdict that is done, or has a cause; or neither when it was given up.

    Raises:
        ClusterError: the API refused to be watched, or was away for longer than the patience.
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
