"""Looks at all environments, for the page and for what they cost."""

from __future__ import annotations

from tasks.app import wiring
from tasks.app.prices import prices_of
from tasks.app.session import Session
from tasks.core.fleet import Fleet
from tasks.flows.views import now


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
        session.console.warn(
            "what they use is not measured: metrics.k8s.io does not answer, or not to you"
        )
    return Fleet(environment, session.settings.project, found, prices, now(), usage)
