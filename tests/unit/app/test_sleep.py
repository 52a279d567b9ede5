"""How often what is stored of an environment's sleep is read."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import ANY

import pytest

from tasks.app import sleep as app
from tasks.app.sleep import SleepTask, be_used
from tasks.commands import sleep as commands
from tasks.core.environment import Owner
from tasks.core.errors import InputError
from tasks.core.names import Names
from tasks.core.sleep import NO_REST, Rest, Sleep
from tasks.flows.sleep import Sleeping
from tasks.flows.target import ServiceStatus
from tests.support.fakes import (
    NAMES,
    REQUEST,
    FakeDeployer,
    FakeInspector,
    FakeSleeper,
    a_console,
)

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
ASLEEP = replace(NO_REST, asleep=Sleep(NOW.isoformat(), "ada@host", "by hand"))


class Counting(FakeSleeper):
    """Notes every reading."""

    def rest(self, owner: Owner, names: Names) -> Rest | None:
        self.note("rest")
        return super().rest(owner, names)


def waking(sleeper: FakeSleeper) -> SleepTask:
    session: Any = object()
    place = Sleeping(REQUEST.owner, NAMES, sleeper)
    return SleepTask(session, place, FakeDeployer(), FakeInspector(), NOW)


def test_to_wake_what_sleeps_is_planned_with_one_reading() -> None:
    sleeper = Counting(found=ASLEEP, up=[], down=["web"])
    assert waking(sleeper).plan_wake().steps
    assert sleeper.seen == ["plan wake"]


def test_what_was_never_deployed_is_not_awake() -> None:
    with pytest.raises(InputError, match="has no environment"):
        waking(Counting(found=None)).plan_wake()


@pytest.mark.parametrize(
    ("task", "args", "there", "outcome"),
    [
        (commands.sleep, {}, NO_REST, {"changed": True, "asleep": ANY}),
        (commands.sleep, {}, ASLEEP, {"changed": False, "asleep": asdict(ASLEEP)["asleep"]}),
        (commands.wake, {}, ASLEEP, {"changed": True, "asleep": None}),
        (commands.pin, {"for_": "1d"}, NO_REST, {"changed": True, "pin": ANY}),
        (commands.pin, {"off": True}, NO_REST, {"changed": False, "pin": None}),
    ],
)
def test_a_program_is_told_what_stands_then(
    task: Any,
    args: dict[str, Any],
    there: Rest,
    outcome: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    up, down = ([], ["web"]) if there.asleep else (["web"], [])
    console, _ = a_console()
    told: list[Any] = []
    monkeypatch.setattr(console, "json", told.append)
    session: Any = SimpleNamespace(console=console, dry=False)
    place = Sleeping(REQUEST.owner, NAMES, FakeSleeper(found=there, up=up, down=down))
    found = SleepTask(session, place, FakeDeployer(), FakeInspector(), NOW)
    for name in ("find", "find_to_sleep"):
        monkeypatch.setattr(app, name, lambda *_: found)
    task.body.__wrapped__(session, format="json", **args)
    (done,) = told
    assert done == {"url": NAMES.url, "changed": ANY, "asleep": ANY, "pin": ANY, "used_at": ANY}
    assert outcome.items() <= done.items()


@pytest.mark.parametrize(
    ("service", "state", "health", "told"),
    [
        ("web", "running", "2/2 ready", "is awake already"),
        ("web", "starting", "0/1 ready", "is not asleep, but web is starting (0/1 ready): inv st"),
        ("web", "stopped", "0/0 ready", "is not asleep, but web is stopped"),
        ("worker", "stopped", "0/0 ready", "is awake already"),
        ("cron-import", "suspended", "0 running", "is awake already"),
        # Nobody waits for a worker's health, as a wake does not.
        ("worker", "running", "starting", "is awake already"),
        ("fpm", "running", "unhealthy", "is not asleep, but fpm is running (unhealthy)"),
        ("fpm", "exited", "", "is not asleep, but fpm is exited: inv status"),
    ],
)
def test_what_is_awake_and_not_ready_is_not_told_as_well(
    service: str, state: str, health: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = ServiceStatus(service, state, health, "", "", "")
    console, said = a_console()
    session: Any = SimpleNamespace(console=console, dry=False)
    place = Sleeping(REQUEST.owner, NAMES, FakeSleeper())
    found = SleepTask(session, place, FakeDeployer(), FakeInspector(parts=[part]), NOW)
    monkeypatch.setattr(app, "find", lambda *_: found)
    cast(Any, commands.wake.body).__wrapped__(session)
    assert f"{place.title} {told}" in said.getvalue()


def test_what_cannot_be_done_with_it_leaves_it_asleep() -> None:
    sleeper = FakeSleeper(found=ASLEEP, up=[], down=["web"])
    target: Any = SimpleNamespace(
        sleeper=sleeper, deployer=FakeDeployer(), inspector=FakeInspector()
    )
    own = SimpleNamespace(environment=lambda _: SimpleNamespace(protected=False))
    session: Any = SimpleNamespace(settings=own, console=a_console()[0])

    def guard() -> None:
        raise InputError("there is no such release")

    with pytest.raises(InputError, match="no such release"):
        be_used(session, target, REQUEST.owner, NAMES, guard=guard)
    assert sleeper.seen == []
    be_used(session, target, REQUEST.owner, NAMES)
    assert "start web" in sleeper.seen
