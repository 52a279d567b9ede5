"""Every wait has a deadline, and names its object there."""

from __future__ import annotations

import pytest

from tasks.adapters.wait import wait_until
from tasks.core.errors import DeadlineError, HeldError
from tests.support.clock import PlayedClock


@pytest.mark.parametrize(
    ("seconds", "slept"),
    [(0.0, []), (0.5, [2.0]), (2.0, [2.0]), (3.0, [2.0, 2.0]), (5.0, [2.0, 2.0, 1.0])],
)
def test_it_asks_at_once_and_then_now_and_then(seconds: float, slept: list[float]) -> None:
    played = PlayedClock()
    wait_until(
        "x",
        lambda: played.passed >= seconds,
        deadline_seconds=5,
        poll_seconds=2.0,
        clock=played.clock,
    )
    assert played.slept == slept


def test_the_first_answer_that_says_something_is_returned() -> None:
    answers = iter([None, "", "here"])
    found = wait_until(
        "x", lambda: next(answers), deadline_seconds=9, poll_seconds=1.0, clock=PlayedClock().clock
    )
    assert found == "here"


def test_at_the_deadline_it_asks_once_more_and_names_the_object() -> None:
    played = PlayedClock()
    asked: list[float] = []

    def is_done() -> bool:
        asked.append(played.now)
        return False

    with pytest.raises(DeadlineError, match=r"^job/migrate is not done after 5 s$"):
        wait_until(
            "job/migrate is not done",
            is_done,
            deadline_seconds=5,
            poll_seconds=2.0,
            clock=played.clock,
        )
    assert asked == [1000.0, 1002.0, 1004.0, 1005.0]


def test_without_any_time_it_asks_once() -> None:
    played = PlayedClock()
    with pytest.raises(DeadlineError):
        wait_until("x", lambda: False, deadline_seconds=0, poll_seconds=1.0, clock=played.clock)
    assert played.slept == []


def test_the_deadline_may_have_an_error_of_its_own() -> None:
    played = PlayedClock()
    with pytest.raises(HeldError, match="x is held after 1 s, by ci") as caught:
        wait_until(
            "x is held",
            lambda: False,
            deadline_seconds=1,
            poll_seconds=1.0,
            late=lambda message: HeldError(f"{message}, by ci", hint="wait"),
            clock=played.clock,
        )
    assert caught.value.hint == "wait"


def test_what_goes_wrong_meanwhile_ends_the_wait() -> None:
    def is_done() -> bool:
        raise HeldError("it is lost")

    with pytest.raises(HeldError, match="it is lost"):
        wait_until("x", is_done, deadline_seconds=9, poll_seconds=1.0)
