"""GitLab's own page of environments: which stopped ones are over."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tasks.core.environment import parse_moment
from tasks.core.errors import UnreadableError

PREFIX = "review/"
"""What the names of branches' environments begin with in .gitlab-ci.yml; all others are kept."""
TIERS = frozenset({"development", "testing", "other"})
"""Tiers of which something is deleted: never of ``production`` and ``staging``."""
DELETED_MAX = 1000
"""How many go in one run: GitLab counts requests, and the next run goes on."""


@dataclass(frozen=True)
class StoppedEnvironment:
    """An environment on GitLab's page that was stopped.

    Attributes:
        number: its id.
        tier: its deployment tier.
        since: when it was changed last, which is when it was stopped.
    """

    number: int
    name: str
    tier: str
    since: datetime


def is_review(found: Mapping[str, Any]) -> bool:
    """Return True if an entry of GitLab's list is a stopped environment of a branch."""
    name = str(found.get("name", ""))
    return found.get("state") == "stopped" and name.startswith(PREFIX)


def parse_stopped(found: Mapping[str, Any]) -> StoppedEnvironment:
    """Return an entry of GitLab's list.

    Raises:
        UnreadableError: it lacks what every version says.
    """
    try:
        moment = parse_moment(str(found["updated_at"]))
        number, tier = int(found["id"]), str(found.get("tier") or "other")
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"GitLab tells of an environment without {error}") from error
    return StoppedEnvironment(number, str(found["name"]), tier, moment)


def over(
    stopped: Iterable[StoppedEnvironment],
    protected: Collection[str],
    *,
    lifetime: timedelta,
    now: datetime,
) -> tuple[StoppedEnvironment, ...]:
    """Return the stopped environments whose time is over, at most ``DELETED_MAX``.

    Args:
        protected: names and tiers that GitLab protects.
        lifetime: how long one is kept after it was stopped.
    """
    found = []
    for each in stopped:
        is_kept = each.tier not in TIERS or {each.name, each.tier} & set(protected)
        if not is_kept and now - each.since > lifetime:
            found.append(each)
        if len(found) == DELETED_MAX:
            break
    return tuple(found)
