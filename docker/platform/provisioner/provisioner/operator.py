"""The operator: watches the namespaces of environments, and calls the reconciler for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import kopf

from provisioner.cluster import ClusterError, RefusedError
from provisioner.connection import log_in
from provisioner.furnish import FullError
from provisioner.reconcile import Reconciler
from provisioner.rules import DATABASE, MANAGED_BY, MANAGER, PREFIX, ForeignError
from provisioner.server import ServerError

log = logging.getLogger("provisioner")

AGAIN_SECONDS = 5
ROOM_SECONDS = 15
"""After which a namespace that there was no room for is looked at again."""
SWEEP_SECONDS = 60
WATCH_SECONDS = 300
"""After which a watch is begun anew: a connection that has died silently is not noticed before."""
HEALTH_SECONDS = 3
"""How long a probe waits for the API server: less than the kubelet waits for the probe."""
WORKERS = 8
"""How many namespaces are worked on at a time."""


def register(
    reconciler: Reconciler, check: Callable[[], None], sweeps: Sequence[Callable[[], None]]
) -> kopf.OperatorRegistry:
    """Return the handlers of all namespaces that the suite made.

    Args:
        check: raises RefusedError if the API server refuses what the operator lives by.
        sweeps: called again and again, one after the other.
    """
    registry = kopf.OperatorRegistry()
    ours: dict[str, Any] = {"registry": registry, "labels": {MANAGED_BY: MANAGER}}
    # Only what has a database needs the finalizer, which comes with this handler.
    with_database = {**ours, "labels": {**ours["labels"], DATABASE: kopf.PRESENT}}

    # A registry of one's own has no handlers to log in.
    kopf.on.login(registry=registry)(log_in)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
        own = f"provisioner.{PREFIX.rstrip('/')}"
        settings.persistence.finalizer = DATABASE
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=own)
        settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=own)
        # The reconciler posts its own Events, where the branch's people see them.
        settings.posting.enabled = False
        settings.scanning.disabled = True  # no kinds but namespaces
        settings.execution.max_workers = WORKERS
        settings.watching.server_timeout = WATCH_SECONDS
        settings.watching.client_timeout = WATCH_SECONDS + 60
        memo.sweeper = asyncio.create_task(_sweep_for_ever(sweeps))

    @kopf.on.cleanup(registry=registry)
    async def stop(memo: kopf.Memo, **_: Any) -> None:
        memo.sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await memo.sweeper

    @kopf.on.probe(registry=registry)
    async def may_watch(**_: Any) -> None:
        # kopf itself answers 200 for as long as it runs, and tries a refused watch again and again.
        # Not in one of its workers, which may all be waiting for the database.
        try:
            await asyncio.wait_for(asyncio.to_thread(check), HEALTH_SECONDS)
        except RefusedError as error:
            raise kopf.PermanentError(str(error)) from error
        except (ClusterError, TimeoutError) as error:
            # It is away for everybody, and a new start would not bring it back.
            log.warning("health: %s", error or "the API server takes its time")

    @kopf.on.create("namespaces", **ours)
    @kopf.on.resume("namespaces", **ours)
    @kopf.on.update("namespaces", **ours)
    def reconcile(body: kopf.Body, **_: Any) -> None:
        _attempt(partial(reconciler.reconcile, body))

    @kopf.on.delete("namespaces", **with_database)
    def remove(body: kopf.Body, **_: Any) -> None:
        _attempt(partial(reconciler.remove, body))

    return registry


def run(registry: kopf.OperatorRegistry, health: str) -> None:
    """Run until a signal ends it.

    Args:
        health: URL on which it answers to probes.
    """
    # Two at once do no harm (reconcile.py), so no peer is asked.
    kopf.run(registry=registry, standalone=True, clusterwide=True, liveness_endpoint=health)


def _attempt(work: Callable[[], None]) -> None:
    """Do a piece of work; what may heal is tried again."""
    try:
        work()
    except ForeignError as error:
        raise kopf.PermanentError(str(error)) from error
    except FullError as error:
        raise kopf.TemporaryError(str(error), delay=ROOM_SECONDS) from error
    except (ServerError, ClusterError) as error:
        raise kopf.TemporaryError(str(error), delay=AGAIN_SECONDS) from error


async def _sweep_for_ever(sweeps: Sequence[Callable[[], None]]) -> None:
    while True:
        for sweep in sweeps:
            try:
                await asyncio.to_thread(sweep)
            except (ServerError, ClusterError) as error:
                log.warning("sweep: %s", error)
        await asyncio.sleep(SWEEP_SECONDS)
