"""What `inv list` makes of an engine's objects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.adapters.docker.engine import Container
from tasks.core.compose.record import ComposeRecord
from tasks.core.environment import Holder, Release, State
from tasks.flows.compose.inspector import summary
from tasks.flows.target import owner_of
from tests.support.fakes import ME, NAMES, RELEASE

OWNER = owner_of(NAMES, "git@example.org:a/b.git")
WELL = Container("1", "p-web-1", "n@sha256:1", "running", "Up 3 minutes (healthy)", {})
SICK = replace(WELL, status="Up 3 minutes (unhealthy)")
ENDED = replace(WELL, state="exited", status="Exited (1) 2 minutes ago")
ONE_OFF = replace(ENDED, labels={"com.docker.compose.oneoff": "True"})


def record(state: State, *history: Release) -> ComposeRecord:
    return ComposeRecord(state, NAMES.url, "2026-02-01", history)


@pytest.mark.parametrize(
    ("recorded", "containers", "holder", "shown"),
    [
        (record(State.READY), [WELL], None, State.RUNNING),
        (record(State.READY), [WELL, ONE_OFF], None, State.RUNNING),
        (record(State.READY), [WELL, ENDED], None, State.DEGRADED),
        (record(State.READY), [WELL, SICK], None, State.DEGRADED),
        (record(State.READY), [ENDED], None, State.STOPPED),
        (record(State.READY), [], None, State.STOPPED),
        (record(State.ROLLED_BACK), [WELL], None, State.ROLLED_BACK),
        (record(State.ROLLED_BACK), [SICK], None, State.DEGRADED),
        (record(State.FAILED), [WELL], None, State.FAILED),
        (record(State.FAILED), [], None, State.FAILED),
        (record(State.DEPLOYING), [WELL], None, State.INTERRUPTED),
        (None, [WELL], None, State.INTERRUPTED),
        (record(State.READY), [WELL], ME, State.DEPLOYING),
        (None, [], replace(ME, action="cleanup"), State.REMOVING),
        (record(State.READY), [WELL], replace(ME, action="look"), State.CHANGING),
    ],
)
def test_the_state_of_an_environment(
    recorded: ComposeRecord | None,
    containers: list[Container],
    holder: Holder | None,
    shown: State,
) -> None:
    assert summary(OWNER, NAMES, recorded, containers, holder).state is shown


def test_an_environment_is_told_by_its_record() -> None:
    second = replace(RELEASE, tag="second", deployed_at="2026-01-02")
    seen = summary(OWNER, NAMES, record(State.READY, RELEASE, second), [WELL], None)
    assert (seen.branch, seen.slug, seen.repository) == (NAMES.branch, NAMES.slug, OWNER.repository)
    assert (seen.url, seen.tag, seen.owner) == (NAMES.url, "second", "ada@host")
    assert (seen.created_at, seen.deployed_at) == ("2026-01-01", "2026-01-02")
    assert seen.expires_at == "2026-02-01"
