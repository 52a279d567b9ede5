"""Holding what would work on the database while it is migrated."""

from __future__ import annotations

import time
from collections.abc import Callable

from tasks.adapters.cluster import Cluster
from tasks.adapters.parallel import at_once
from tasks.core.errors import DeadlineError
from tasks.core.manifests import INSTANCE
from tasks.core.naming import Names

COMPONENT = "app.kubernetes.io/component"
HOLD_SECONDS = 600
"""How long scheduled commands that run already may take to end."""
POLL_SECONDS = 0.1


def hold(cluster: Cluster, names: Names, say: Callable[[str], None]) -> None:
    """Stop workers and crons, and wait for the scheduled commands that run already.

    The upgrade itself starts them again, as does the way back.

    Args:
        cluster: the cluster.
        names: the branch's names.
        say: told what is waited for.

    Raises:
        DeadlineError: a command did not end in time.
    """
    where, ours = names.namespace, f"{INSTANCE}={names.release}"
    found = [
        (kind, item["metadata"]["name"], {"spec": spec})
        for kind, selector, spec in (
            ("CronJob", ours, {"suspend": True}),
            ("Deployment", f"{ours},{COMPONENT}=worker", {"replicas": 0}),
        )
        for item in cluster.find(kind, where, selector)
    ]
    at_once(lambda each: cluster.patch(each[0], each[1], where, each[2]), found)
    deadline = time.monotonic() + HOLD_SECONDS
    told: set[str] = set()
    while busy := _busy(cluster, where, ours):
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"{', '.join(busy)} in {where} did not end in {HOLD_SECONDS} s, and the "
                "database must not be migrated under it",
                hint="wait for it, or delete it, and deploy again",
            )
        for name in sorted(set(busy) - told):
            say(f"waiting for {name}")
            told.add(name)
        time.sleep(POLL_SECONDS)


def _busy(cluster: Cluster, where: str, ours: str) -> list[str]:
    """Return the pods of workers and crons that still run."""
    return [
        f"pod/{item['metadata']['name']}"
        for item in cluster.find("Pod", where, f"{ours},{COMPONENT} in (worker,cron)")
        if item.get("status", {}).get("phase") in {"Pending", "Running"}
    ]
