"""What all environments request and cost, each and by owner."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.cost import GIB, Prices, Requests
from tasks.core.environment import State
from tasks.core.fleet import Fleet, cost_table
from tasks.core.summary import EnvironmentSummary
from tests.support.fleet import NOW, PRICES
from tests.unit.core.test_fleet_page import ITEM

GREAT = replace(ITEM, branch="great", owner="grace@host", requests=Requests(1000, 4 * GIB, GIB))
ASLEEP = replace(GREAT, branch="asleep", state=State.ASLEEP)
UNKNOWN = replace(ITEM, branch="unknown", requests=None)
FREE = Prices(0, 0, 0, "USD")


def fleet(*found: EnvironmentSummary, prices: Prices = PRICES) -> Fleet:
    return Fleet("dev", "mautic", found, prices, NOW)


ALL = fleet(ASLEEP, ITEM, UNKNOWN, GREAT)


def test_each_is_told_with_the_most_expensive_first_and_the_sum_last() -> None:
    columns, rows = cost_table(ALL, ALL.shares, "branch")
    assert columns == ("branch", "count", "cpu", "memory", "storage", "USD/month", "all awake")
    assert rows == [
        ("great", "1", "1", "4.0 GiB", "1.0 GiB", "42.44", "42.44"),
        ("feature/x", "1", "0.5", "2.0 GiB", "5.0 GiB", "21.67", "21.67"),
        ("asleep", "1", "0", "0", "1.0 GiB", "0.10", "42.44"),
        ("total", "3", "1.5", "6.0 GiB", "7.0 GiB", "64.21", "106.55"),
    ]


def test_owners_are_told_with_all_that_they_have_deployed() -> None:
    _, rows = cost_table(ALL, ALL.owners, "owner")
    assert [row[:3] for row in rows] == [
        ("grace@host", "2", "1"),
        ("ada@host", "1", "0.5"),
        ("total", "3", "1.5"),
    ]


def test_without_prices_there_are_requests_alone_by_processors() -> None:
    free = fleet(ITEM, GREAT, prices=FREE)
    columns, rows = cost_table(free, free.shares, "branch")
    assert columns[-1] == "storage"
    assert [row[0] for row in rows] == ["great", "feature/x", "total"]
    assert free.as_dict()["total"]["month"] is None


def test_as_data_there_is_all_of_it() -> None:
    data = ALL.as_dict()
    assert data["prices"]["currency"] == "USD"
    assert data["unknown"] == ALL.unknown == 1
    assert data["total"]["count"] == 3
    assert data["total"]["now"] == {"cpu": 1500, "memory": 6 * GIB, "storage": 7 * GIB}
    assert data["total"]["month"] == {"now": pytest.approx(64.21), "awake": pytest.approx(106.55)}
    assert [each["name"] for each in data["environments"]] == ["great", "feature/x", "asleep"]
    assert [each["name"] for each in data["owners"]] == ["grace@host", "ada@host"]


def test_of_nothing_nothing_is_known() -> None:
    assert not fleet().has_requests
    assert not fleet(UNKNOWN).has_requests
    assert fleet(UNKNOWN).shares == fleet(UNKNOWN).owners == []
