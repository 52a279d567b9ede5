"""What an environment pays for what it requests, from its settings and its price lists."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.adapters.files.price_list import read_offers
from tasks.app.paths import PROJECT
from tasks.core.errors import InputError
from tasks.core.price_list import Listed, Wanted, find_prices

if TYPE_CHECKING:
    from tasks.core.cost import Prices
    from tasks.core.settings import Environment, Settings


def prices_of(settings: Settings, own: Environment) -> Prices:
    """Return the prices of an environment.

    Raises:
        InputError: a price list cannot be read, or lacks what is looked for.
    """
    chosen = own.prices
    if not chosen.lists:
        return chosen.prices()
    region = chosen.region or (settings.stack(own.stack).region if own.stack else "")
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
