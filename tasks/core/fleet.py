"""All environments of one environment of invoke.yaml: what they request, use and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tasks.core.cost import NO_REQUESTS, Prices, Requests, gibibytes, processors, total
from tasks.core.summary import EnvironmentSummary

Usage = Mapping[str, Requests]
"""What runs uses, by namespace."""


@dataclass(frozen=True)
class Fleet:
    """All environments, as they were found.

    Attributes:
        environment: their environment of invoke.yaml.
        project: the prefix of their names.
        now: when they were looked at.
        usage: what they use; None if that was not asked for, or nobody measures it.
    """

    environment: str
    project: str
    found: Sequence[EnvironmentSummary]
    prices: Prices
    now: datetime
    usage: Usage | None = None

    @property
    def has_requests(self) -> bool:
        """Whether any of them has noted what it requests."""
        return any(item.requests for item in self.found)

    @property
    def unknown(self) -> int:
        """How many of them have not."""
        return sum(item.requests is None for item in self.found)

    @property
    def total(self) -> Share:
        """What all of them request."""
        return _share("total", self.found)

    @property
    def shares(self) -> list[Share]:
        """What each of them requests, the most expensive first."""
        return self._sorted(_share(item.title, [item]) for item in self.found if item.requests)

    @property
    def owners(self) -> list[Share]:
        """What those of each owner request, the most expensive first."""
        theirs: dict[str, list[EnvironmentSummary]] = {}
        for item in self.found:
            if item.requests:
                theirs.setdefault(item.owner, []).append(item)
        return self._sorted(_share(owner, found) for owner, found in theirs.items())

    def _sorted(self, shares: Iterator[Share]) -> list[Share]:
        def order(share: Share) -> tuple[float, int, str]:
            return -self.prices.month(share.now), -share.now.cpu, share.name

        return sorted(shares, key=order)

    def as_dict(self) -> dict[str, Any]:
        """Return what they request and cost as JSON-ready data, all of it and by owner."""

        def told(share: Share) -> dict[str, Any]:
            costs = {"now": share.now, "awake": share.awake}
            months = {key: round(self.prices.month(value), 4) for key, value in costs.items()}
            return {**asdict(share), "month": months if self.prices.are_known else None}

        return {
            "prices": asdict(self.prices),
            "total": told(self.total),
            "unknown": self.unknown,
            "environments": [told(share) for share in self.shares],
            "owners": [told(share) for share in self.owners],
        }


@dataclass(frozen=True)
class Share:
    """What some environments request.

    Attributes:
        name: the branch or the owner.
        count: how many they are.
        now: what they request as they are.
        awake: what they request when all of them run.
    """

    name: str
    count: int
    now: Requests
    awake: Requests


def _share(name: str, found: Sequence[EnvironmentSummary]) -> Share:
    known = [item for item in found if item.requests]
    return Share(
        name,
        len(known),
        total((item.requests or NO_REQUESTS).in_state(item.state) for item in known),
        total(item.requests or NO_REQUESTS for item in known),
    )


def cost_table(
    fleet: Fleet, shares: Sequence[Share], what: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return what is requested, and its costs if there are prices, as columns and rows.

    Args:
        what: the first column's title.
    """
    parts: list[tuple[str, Callable[[Share], str]]] = [
        (what, lambda share: share.name),
        ("count", lambda share: str(share.count)),
        ("cpu", lambda share: processors(share.now.cpu)),
        ("memory", lambda share: gibibytes(share.now.memory)),
        ("storage", lambda share: gibibytes(share.now.storage)),
    ]
    if fleet.prices.are_known:
        parts += [
            (f"{fleet.prices.currency}/month", lambda share: _money(fleet, share.now)),
            ("all awake", lambda share: _money(fleet, share.awake)),
        ]
    rows = [tuple(show(share) for _, show in parts) for share in (*shares, fleet.total)]
    return tuple(title for title, _ in parts), rows


def _money(fleet: Fleet, requests: Requests) -> str:
    return f"{fleet.prices.month(requests):,.2f}"
