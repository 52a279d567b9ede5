"""What `inv page` shows of all environments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tasks.core.cost import Requests, gibibytes, processors
from tasks.core.environment import State, parse_moment
from tasks.core.fleet import Fleet
from tasks.core.page import Cell, Column, Page, Row
from tasks.core.spans import since, until
from tasks.core.summary import EnvironmentSummary, misnamed_lines, unreadable_lines

UNKNOWN = Cell("-", order="")
_STATE = 1
"""The number of the column with the states."""


def page(fleet: Fleet) -> Page:
    """Return the page of all environments."""
    shown = fleet.has_requests
    columns = [
        Column("Branch"),
        Column("State"),
        Column("Commit"),
        Column("Deployed"),
        Column("Owner"),
        Column("Last deploy"),
        Column("Expires"),
    ]
    if shown:
        columns += [Column("CPU", True), Column("Memory", True), Column("Storage", True)]
    if shown and fleet.prices.are_known:
        columns += [Column(f"{fleet.prices.currency} a month", True)]
    return Page(
        title=f"{fleet.project}: environments in {fleet.environment}",
        made=f"As of {_stamp(fleet.now)}",
        columns=columns,
        rows=[_row(item, fleet, len(columns)) for item in fleet.found],
        state=_STATE,
        facts=_facts(fleet),
        warnings=(*unreadable_lines(fleet.found), *misnamed_lines(fleet.found)),
    )


def _facts(fleet: Fleet) -> list[tuple[str, str]]:
    states = Counter(item.state for item in fleet.found)
    facts = [("environments", str(len(fleet.found)))]
    facts += [(state, str(count)) for state, count in sorted(states.items())]
    if not fleet.has_requests:
        return facts
    asked = fleet.total.now
    facts.append(("CPU requested", processors(asked.cpu)))
    facts.append(("memory requested", gibibytes(asked.memory)))
    facts.append(("storage", gibibytes(asked.storage)))
    if fleet.prices.are_known:
        cost = fleet.prices.month(asked)
        facts.append(("a month like now", f"{cost:,.2f} {fleet.prices.currency}"))
    return facts


def _row(item: EnvironmentSummary, fleet: Fleet, width: int) -> Row:
    now = fleet.now
    cells = (
        Cell(item.title, item.url.partition("://")[2], link=item.url),
        _state(item, now),
        _commit(item),
        _moment(since(item.deployed_at, now), item.deployed_at),
        Cell(item.owner) if item.owner else UNKNOWN,
        _last_deploy(item, now),
        _expiry(item, now),
        *_amounts(item, fleet),
    )
    return Row(item.state, cells[:width])


def _commit(item: EnvironmentSummary) -> Cell:
    """Return the commit, and the tag if that does not say the same."""
    commit = item.commit[:8]
    if not commit:
        return Cell(item.tag) if item.tag else UNKNOWN
    return Cell(commit, "" if commit == item.tag else item.tag)


def _state(item: EnvironmentSummary, now: datetime) -> Cell:
    asleep = item.rest.asleep
    if item.state is not State.ASLEEP or asleep is None:
        return Cell(item.state)
    note = f"for {since(asleep.since, now)}: {asleep.why}, {asleep.by}"
    return Cell(item.state, note)


def _last_deploy(item: EnvironmentSummary, now: datetime) -> Cell:
    """Return how the last deploy ended, and why it failed."""
    if failure := item.failure:
        at = f"{since(failure.at, now)} ago, {failure.tag}"
        return Cell(f"failed {at}", failure.cause)
    if item.state in {State.FAILED, State.ROLLED_BACK}:
        return Cell("failed")
    if item.state in {State.DEPLOYING, State.INTERRUPTED}:
        return Cell(item.state)
    return Cell("succeeded") if item.tag else UNKNOWN


def _expiry(item: EnvironmentSummary, now: datetime) -> Cell:
    pin = item.rest.pinned(now)
    if pin is None:
        return _moment(until(item.expires_at, now), item.expires_at)
    return Cell("pinned", f"{f'for {until(pin.until, now)} ' if pin.until else ''}by {pin.by}")


def _amounts(item: EnvironmentSummary, fleet: Fleet) -> tuple[Cell, ...]:
    """Return what is requested, and what that costs."""
    if item.requests is None:
        return (UNKNOWN,) * 4
    awake, asked = item.requests, item.requests.in_state(item.state)
    used = (fleet.usage or {}).get(item.namespace)

    def amount(
        measure: Callable[[Requests], float], show: Callable[[Any], str], *, metered: bool = False
    ) -> Cell:
        notes = [f"uses {show(measure(used))}"] if used and metered else []
        notes += [f"awake {show(measure(awake))}"] if measure(awake) != measure(asked) else []
        return Cell(show(measure(asked)), ", ".join(notes), measure(asked))

    return (
        amount(lambda of: of.cpu, processors, metered=True),
        amount(lambda of: of.memory, gibibytes, metered=True),
        amount(lambda of: of.storage, gibibytes),
        amount(fleet.prices.month, "{:,.2f}".format),
    )


def _moment(text: str, moment: str) -> Cell:
    """Return a cell with a span of time, sorted by the moment."""
    return Cell(text, order=parse_moment(moment).timestamp()) if moment else UNKNOWN


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
