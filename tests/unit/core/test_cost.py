"""What requests cost by the prices of the settings."""

from __future__ import annotations

import pytest

from tasks.core.cost import GIB, Prices, Requests, gibibytes, processors, total
from tasks.core.environment import State

AWAKE = Requests(500, 2 * GIB, 13 * GIB)
PRICES = Prices(0.04, 0.005, 0.1, "USD")


def test_a_month_has_730_hours_and_storage_is_paid_by_the_month() -> None:
    assert PRICES.month(AWAKE) == pytest.approx(0.5 * 0.04 * 730 + 2 * 0.005 * 730 + 13 * 0.1)
    assert PRICES.month(AWAKE.in_state(State.ASLEEP)) == pytest.approx(1.3)


@pytest.mark.parametrize("state", State)
def test_only_what_does_not_run_requests_storage_alone(state: State) -> None:
    rests = state in {State.ASLEEP, State.STOPPED, State.REMOVED}
    assert AWAKE.in_state(state) == (Requests(storage=13 * GIB) if rests else AWAKE)


def test_without_a_price_nothing_is_known() -> None:
    assert not Prices(0, 0, 0, "USD").are_known
    assert Prices(0, 0, 0.1, "USD").are_known


def test_requests_add_up() -> None:
    assert total([AWAKE, AWAKE]) == AWAKE.times(2)
    assert total([]) == Requests()


@pytest.mark.parametrize(
    ("millis", "text"), [(0, "0"), (20, "0.02"), (250, "0.25"), (1000, "1"), (1234500, "1,234.5")]
)
def test_processors_for_a_person(millis: int, text: str) -> None:
    assert processors(millis) == text


def test_gibibytes_for_a_person() -> None:
    assert gibibytes(402653184) == "0.4 GiB"
    assert gibibytes(1500 * GIB) == "1,500.0 GiB"
