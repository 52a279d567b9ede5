"""What each request is answered, by what is known of its environment."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from entrance import server
from entrance.answers import Answer
from entrance.cluster import ClusterWaker
from entrance.fleet import Fleet
from entrance.pages import Progress, Stage
from entrance.server import Entrance
from entrance.visits import Visit
from entrance.waker import Found
from tasks.core.kubernetes.labels import ASLEEP
from tests.unit.entrance.test_rules import LABELS, RULES
from tests.unit.entrance.test_visits import AGENTS, BROWSER, PAGE

HOST = "a-b.dev.example.com"
ASLEEP_NOW = {"metadata": {"name": "mautic-a-b", "labels": LABELS, "annotations": {ASLEEP: "{}"}}}
AWAKE_NOW = {"metadata": {"name": "mautic-a-b", "labels": LABELS}}


@dataclass
class Played:
    """A waking that is as far as a test says."""

    progress: Progress = field(default_factory=lambda: Progress(Stage.ASKED))
    is_noted: threading.Event = field(default_factory=threading.Event)
    is_open: threading.Event = field(default_factory=threading.Event)


class Asked(ClusterWaker):
    """Notes what is asked for, and wakes nothing."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(None, RULES, fleet, "me")  # type: ignore[arg-type]
        self.fleet = fleet
        self.asked: list[str] = []
        self.waking = Played()

    def ask(self, found: Found) -> Any:
        self.asked.append(found.name)
        return self.waking


@pytest.fixture
def entrance(monkeypatch: pytest.MonkeyPatch) -> Entrance:
    monkeypatch.setattr(server, "HOLD_SECONDS", 0.05)
    monkeypatch.setattr(server, "NOTED_SECONDS", 0.05)
    fleet = Fleet(None)  # type: ignore[arg-type]
    fleet.known.set()
    fleet._found["mautic-a-b"] = ASLEEP_NOW
    return Entrance(Asked(fleet))


def fleet_of(entrance: Entrance) -> Fleet:
    assert isinstance(entrance.waker, Asked)
    return entrance.waker.fleet


def ask(entrance: Entrance, agent: str = BROWSER, accept: str = PAGE, host: str = HOST) -> Answer:
    return entrance.answer(host, Visit("GET", "/s/login", accept, agent))


def asked(entrance: Entrance) -> list[str]:
    assert isinstance(entrance.waker, Asked)
    return entrance.waker.asked


def test_a_browser_is_shown_how_far_it_is(entrance: Entrance) -> None:
    found = ask(entrance)
    assert (found.status, found.site) == (503, False)
    assert "waking up" in found.body
    assert asked(entrance) == ["mautic-a-b"]
    headers = found.headers()
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Robots-Tag"].startswith("noindex")
    assert "X-Accel-Redirect" not in headers


def test_a_bot_is_told_that_it_sleeps_or_does_not_answer(entrance: Entrance) -> None:
    found = ask(entrance, AGENTS[0])
    assert (found.status, found.headers()["Retry-After"]) == (503, "120")
    assert "sleeps" in found.body
    fleet_of(entrance)._found["mautic-a-b"] = AWAKE_NOW
    assert "does not answer" in ask(entrance, AGENTS[0]).body
    assert asked(entrance) == []


def test_a_program_waits_and_goes_on_or_comes_again(entrance: Entrance) -> None:
    late = ask(entrance, "curl/8.5.0", "*/*")
    assert (late.status, late.headers()["Retry-After"]) == (503, "5")
    entrance.waker.waking.is_open.set()  # type: ignore[attr-defined]
    assert ask(entrance, "curl/8.5.0", "*/*").headers()["X-Accel-Redirect"] == "@site"


def test_no_more_are_held_than_there_is_room_for(entrance: Entrance) -> None:
    entrance.waker.waking.is_open.set()  # type: ignore[attr-defined]
    entrance.places = threading.BoundedSemaphore(1)
    with entrance.places:
        assert ask(entrance, "curl/8.5.0", "*/*").status == 503
    assert ask(entrance, "curl/8.5.0", "*/*").site
    # A browser needs no room.
    assert "waking up" in ask(entrance).body


def test_what_is_no_environment_is_not_found(entrance: Entrance) -> None:
    for host in ("x.dev.example.com", "dev.example.com", "a-b.shared.example.com"):
        assert ask(entrance, host=host).status == 404
    fleet_of(entrance)._found["mautic-a-b"] = {"metadata": {"name": "mautic-a-b"}}
    assert ask(entrance).status == 404
    assert asked(entrance) == []


def test_until_it_knows_what_there_is_it_says_so(entrance: Entrance) -> None:
    fleet_of(entrance).known.clear()
    found = ask(entrance)
    assert (found.status, found.retry_seconds) == (503, 5)
    assert "environments does not answer" in found.body
