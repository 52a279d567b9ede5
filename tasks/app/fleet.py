"""Looks at all environments, for the page and for what they cost."""

from __future__ import annotations

from tasks.app import wiring
from tasks.app.prices import prices_of
from tasks.app.session import Session
from tasks.core.fleet import Fleet
from tasks.flows.views import now

NO_METRICS = "only a cluster tells that (--used)"
"""Why nobody knows what environments on this machine use."""


def find_fleet(session: Session, env: str, *, used: bool = False) -> Fleet:
    """Return all environments as they are now, by the same requests as `inv list`.

    Args:
        session: the run.
        env: what ``--env`` said.
        used: also what they use, for one request more; a warning if nobody measures that.

    Raises:
        SuiteError: they cannot be looked at.
    """
    environment, own = session.environment(env)
    inspector = wiring.target(session, environment).inspector
    prices = prices_of(session.settings, own)
    found = inspector.list(session.git.repository())
    usage = inspector.usage() if used else None
    if used and usage is None:
        on_kubernetes = own.target == "kubernetes"
        why = "metrics.k8s.io does not answer, or not to you" if on_kubernetes else NO_METRICS
        session.console.warn(f"what they use is not measured: {why}")
    return Fleet(environment, session.settings.project, found, prices, now(), usage)
