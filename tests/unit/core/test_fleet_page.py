"""What the page of all environments says of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tasks.core.cost import GIB, Prices, Requests
from tasks.core.environment import Failure, State
from tasks.core.fleet import Fleet
from tasks.core.fleet_page import page
from tasks.core.page import Cell
from tasks.core.sleep import Pinned, Rest, Sleep
from tasks.core.summary import EnvironmentSummary, unreadable
from tests.support.fleet import CAUSE, NOW, PRICES, ago

ITEM = EnvironmentSummary(
    *("feature/x", "feature-x", "r", "https://x.example.com", State.RUNNING),
    *("cccccccc", "c" * 40, "ada@host", ago(days=3), ago(hours=5), ago(days=-2)),
    namespace="mautic-x",
    requests=Requests(500, 2 * GIB, 5 * GIB),
)
SLEEP = Sleep(ago(hours=3), "ada@host", "by hand")
PIN = Pinned(ago(days=1), "grace@host", ago(days=-9))
FAILURE = Failure("0badc0de", ago(hours=2), CAUSE)
UNKNOWN = Cell("-", order="")


def cells(item: EnvironmentSummary, **fleet: object) -> dict[str, Cell]:
    """Return the cells of an environment, by their columns."""
    known = {"prices": PRICES, "now": NOW, **fleet}
    shown = page(Fleet("dev", "mautic", [item], **known))  # type: ignore[arg-type]
    (row,) = shown.rows
    return {column.title: cell for column, cell in zip(shown.columns, row.cells, strict=True)}


def test_an_environment_that_runs_has_all_its_cells() -> None:
    found = cells(ITEM)
    deployed = (NOW - timedelta(hours=5)).timestamp()
    assert found == {
        "Branch": Cell("feature/x", "x.example.com", link="https://x.example.com"),
        "State": Cell("running"),
        "Commit": Cell("cccccccc"),
        "Deployed": Cell("5h", order=deployed),
        "Owner": Cell("ada@host"),
        "Last deploy": Cell("succeeded"),
        "Expires": Cell("2d", order=(NOW + timedelta(days=2)).timestamp()),
        "CPU": Cell("0.5", order=500),
        "Memory": Cell("2.0 GiB", order=2 * GIB),
        "Storage": Cell("5.0 GiB", order=5 * GIB),
        "USD a month": Cell("21.67", order=pytest.approx(21.67)),
    }


def test_one_that_sleeps_says_since_when_why_and_by_whom_and_what_it_costs_awake() -> None:
    found = cells(replace(ITEM, state=State.ASLEEP, rest=Rest(SLEEP)))
    assert found["State"] == Cell("asleep", "for 3h: by hand, ada@host")
    assert found["CPU"] == Cell("0", "awake 0.5", 0)
    assert found["Memory"] == Cell("0", "awake 2.0 GiB", 0)
    assert found["Storage"] == Cell("5.0 GiB", order=5 * GIB)
    assert (found["USD a month"].text, found["USD a month"].note) == ("0.50", "awake 21.67")


@pytest.mark.parametrize(
    ("pin", "shown"),
    [
        (PIN, Cell("pinned", "for 9d by grace@host")),
        (replace(PIN, until=""), Cell("pinned", "by grace@host")),
        (replace(PIN, until=ago(days=1)), Cell("2d", order=(NOW + timedelta(days=2)).timestamp())),
    ],
)
def test_a_pin_that_holds_stands_in_place_of_the_expiry(pin: Pinned, shown: Cell) -> None:
    assert cells(replace(ITEM, rest=Rest(pin=pin)))["Expires"] == shown


@pytest.mark.parametrize(
    ("state", "failure", "shown"),
    [
        (State.ROLLED_BACK, FAILURE, Cell("failed 2h ago, 0badc0de", CAUSE)),
        # It sleeps now.
        (State.ASLEEP, FAILURE, Cell("failed 2h ago, 0badc0de", CAUSE)),
        # From before causes were recorded.
        (State.FAILED, None, Cell("failed")),
        (State.DEPLOYING, None, Cell("deploying")),
        (State.INTERRUPTED, None, Cell("interrupted")),
        (State.DEGRADED, None, Cell("succeeded")),
    ],
)
def test_how_the_last_deploy_ended(state: State, failure: Failure | None, shown: Cell) -> None:
    assert cells(replace(ITEM, state=state, failure=failure))["Last deploy"] == shown


@pytest.mark.parametrize(
    ("tag", "commit", "shown"),
    [
        ("cccccccc", "c" * 40, Cell("cccccccc")),
        ("v7", "c" * 40, Cell("cccccccc", "v7")),
        ("v7", "", Cell("v7")),
        ("", "", UNKNOWN),
    ],
)
def test_the_commit_and_a_tag_that_says_something_else(tag: str, commit: str, shown: Cell) -> None:
    assert cells(replace(ITEM, tag=tag, commit=commit))["Commit"] == shown


def test_what_is_measured_stands_beside_what_is_requested() -> None:
    found = cells(ITEM, usage={"mautic-x": Requests(40, GIB // 4), "other": Requests(1)})
    assert (found["CPU"].note, found["Memory"].note) == ("uses 0.04", "uses 0.2 GiB")
    assert (found["Storage"].note, found["USD a month"].note) == ("", "")


def test_without_prices_or_requests_there_are_no_such_columns() -> None:
    free = Prices(0, 0, 0, "USD")
    assert list(cells(ITEM, prices=free))[-1] == "Storage"
    assert list(cells(replace(ITEM, requests=None)))[-1] == "Expires"


def test_one_that_cannot_be_read_is_in_the_table_and_told_above_it() -> None:
    broken = unreadable("mautic-y", {"branch": "y"}, "its record is damaged")
    shown = page(Fleet("dev", "mautic", [ITEM, broken], PRICES, NOW))
    assert [row.cells[1].text for row in shown.rows] == ["running", "unreadable"]
    assert shown.rows[1].cells[2:] == (UNKNOWN,) * 9
    assert "its record is damaged" in shown.warnings[0]


def test_what_all_of_them_request_and_cost_stands_above() -> None:
    asleep = replace(ITEM, state=State.ASLEEP, rest=Rest(SLEEP))
    shown = page(Fleet("dev", "mautic", [ITEM, asleep, ITEM], PRICES, NOW))
    assert dict(shown.facts) == {
        "environments": "3",
        "asleep": "1",
        "running": "2",
        "CPU requested": "1",
        "memory requested": "4.0 GiB",
        "storage": "15.0 GiB",
        "a month like now": "43.84 USD",
    }
