"""Looks at all environments, for the page and for what they cost."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.adapters.files.price_list import read_offers
from tasks.app import wiring
from tasks.app.paths import PROJECT
from tasks.app.session import Session
from tasks.core.errors import InputError
from tasks.core.fleet import Fleet
from tasks.core.price_list import Listed, Wanted, find_prices
from tasks.flows.views import now

if TYPE_CHECKING:
    from tasks.core.cost import Prices
    from tasks.core.settings import Environment


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
    prices = _prices(session, own)
    found = inspector.list(session.git.repository())
    usage = inspector.usage() if used else None
    if used and usage is None:
        session.console.warn(
            "what they use is not measured: metrics.k8s.io does not answer, or not to you"
        )
    return Fleet(environment, session.settings.project, found, prices, now(), usage)


def _prices(session: Session, own: Environment) -> Prices:
    """Return the prices of an environment.

    Raises:
        InputError: a price list cannot be read, or lacks what is looked for.
    """
    chosen = own.prices
    if not chosen.lists:
        return chosen.prices()
    region = chosen.region or (session.settings.stack(own.stack).region if own.stack else "")
    wanted = Wanted(chosen.node, chosen.storage, region, chosen.currency)
    paths = tuple(PROJECT / name for name in chosen.lists)
    try:
        versions = tuple(path.stat().st_mtime_ns for path in paths)
    except OSError as error:
        raise InputError(f"the price list {error.filename}: {error.strerror}") from error
    return chosen.prices(_listed(paths, versions, wanted))


@cache
def _listed(paths: tuple[Path, ...], versions: tuple[int, ...], wanted: Wanted) -> Listed:
    """Return the prices in some lists; a page that is served reads each version once."""
    offers = (offer for path in paths for offer in read_offers(path, wanted.words))
    return find_prices(offers, wanted)
