"""The steps of a waking, in their order, whatever is known of the environment at its beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from entrance import waking
from entrance.pages import Progress, Stage
from entrance.waking import HeldError, Mark, UnansweredError, Waking


@dataclass
class Played:
    """An environment that serves once it was started and looked at so many times."""

    stored: Mark = Mark.ASLEEP
    looks: int = 1
    done: list[str] = field(default_factory=list)
    interfere: Callable[[Played], None] = lambda _: None

    def start(self) -> bool:
        self.done.append("start")
        self.stored = Mark.WAKING
        return True

    def proceed(self) -> bool:
        self.interfere(self)
        return "start" in self.done and self.looks <= 0

    def finish(self) -> None:
        self.done.append("finish")
        self.stored = Mark.AWAKE

    def give_up(self) -> None:
        self.done.append("give up")
        self.stored = Mark.ASLEEP

    def mark(self) -> Mark:
        return self.stored

    def progress(self, since: datetime) -> Progress:
        assert since.tzinfo
        self.looks -= 1
        return Progress(Stage.ASKED)


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_SECONDS", "LOOK_SECONDS", "LATER_LOOK_SECONDS"):
        monkeypatch.setattr(waking, name, 0.001)


def woken(played: Played, *, sleeping: bool) -> Waking:
    made = Waking("mautic-a", played, Progress(Stage.ASKED))
    made.run(sleeping=sleeping)
    return made


@pytest.mark.parametrize("sleeping", [True, False], ids=["known", "put to sleep just now"])
def test_one_that_sleeps_is_woken_whether_or_not_that_was_known(sleeping: bool) -> None:
    played = Played()
    assert woken(played, sleeping=sleeping).is_open.is_set()
    assert played.done == ["start", "finish"]


def test_a_visitor_hears_of_it_once_it_is_stored() -> None:
    noted: list[bool] = []
    played = Played(interfere=lambda _: noted.append(made.is_noted.is_set()))
    made = Waking("mautic-a", played, Progress(Stage.ASKED))
    made.run(sleeping=True)
    # Not while it is being started, and ever after.
    assert noted[:2] == [False, True]


def test_one_that_is_put_to_sleep_meanwhile_stays_asleep() -> None:
    def sleep(played: Played) -> None:
        if played.looks == 1:
            played.stored = Mark.ASLEEP

    played = Played(looks=2, interfere=sleep)
    assert not woken(played, sleeping=True).is_open.is_set()
    assert played.done == ["start"]


def test_what_nobody_asks_for_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waking, "WAKE_SECONDS", 0.05)
    played = Played(looks=10**9)
    assert not woken(played, sleeping=True).is_open.is_set()
    assert played.done == ["start", "give up"]


@pytest.mark.parametrize(
    ("error", "stage"),
    [
        (HeldError(by_stranger=True), Stage.HELD),
        (UnansweredError("away"), Stage.FAILED),
    ],
)
def test_what_is_in_the_way_is_told_and_tried_again(error: Exception, stage: Stage) -> None:
    told: list[Stage] = []

    def once(played: Played) -> None:
        told.append(made.progress.stage)
        if len(told) == 2:
            raise error

    played = Played(looks=2, interfere=once)
    made = Waking("mautic-a", played, Progress(Stage.ASKED))
    made.run(sleeping=True)
    assert told[2] is stage
    assert played.done == ["start", "finish"]
