"""What `inv list` makes of an engine's objects."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.adapters.docker.engine import PROJECT, Container
from tasks.core.compose.record import RECORD, ComposeRecord, owner_labels
from tasks.core.environment import Holder, Release, State
from tasks.core.errors import UnreadableError
from tasks.core.settings import names_of
from tasks.flows.compose.inspector import summary
from tasks.flows.compose.inventory import write_record
from tasks.flows.compose.target import compose_target
from tasks.flows.gc import plan_sweep
from tasks.flows.target import owner_of
from tasks.flows.views import now
from tests.support.fake_engine import FakeCompose, FakeEngine, a_context
from tests.support.fakes import ME, NAMES, RELEASE, REQUEST

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


# -- what anybody may have written ----------------------------------------------------------------


def planted(changes: dict[str, str | None], volume: str = "_record-1") -> FakeEngine:
    """Return an engine with a good environment and one whose record volume has changed labels."""
    engine = FakeEngine()
    context, _ = a_context(engine, FakeCompose(engine))
    write_record(engine, OWNER, NAMES, record(State.READY))  # type: ignore[arg-type]
    evil = names_of(context.settings, NAMES.environment, "evil/x")
    labels = {**owner_labels(owner_of(evil, OWNER.repository)), PROJECT: evil.namespace}
    made = {**labels, **record(State.READY).to_labels(), **changes}
    engine.create_volume(
        f"{evil.namespace}{volume}", {key: text for key, text in made.items() if text is not None}
    )
    return engine


@pytest.mark.parametrize(
    ("changes", "volume"),
    [
        ({RECORD: "{"}, "_record-1"),
        ({RECORD: '{"state": "ready", "url": "x", "history": 7}'}, "_record-1"),
        ({RECORD: '{"state": "ready", "url": "x", "expires_at": "soon"}'}, "_record-1"),
        ({}, "_record-x"),
        ({}, "_record-²"),
        ({"io.mautic-multidev.branch": None}, "_record-1"),
        ({"io.mautic-multidev.branch": "a..b"}, "_record-1"),
    ],
)
def test_broken_labels_hide_no_other_environment_and_are_not_collected(
    changes: dict[str, str | None], volume: str
) -> None:
    engine = planted(changes, volume)
    context, _ = a_context(engine, FakeCompose(engine))
    target = compose_target(context)
    found = {item.branch: item for item in target.inspector.list()}
    assert found.pop(NAMES.branch).state is State.STOPPED
    (evil,) = found.values()
    assert evil.state is State.UNREADABLE
    assert evil.problem
    sweep = plan_sweep("local", [evil], repository=OWNER.repository, branches=(), now=now())
    assert (sweep.stale, sweep.unreadable) == ((), (evil,))
    # The other one is removed as ever.
    for _, remove in target.remover.plan_removal(OWNER, NAMES).todo:
        remove(print)
    assert len(engine.kept) == 1


def test_its_own_clean_up_says_how_to_go_on() -> None:
    engine = planted({RECORD: "{"})
    context, _ = a_context(engine, FakeCompose(engine))
    evil = names_of(context.settings, NAMES.environment, "evil/x")
    with pytest.raises(UnreadableError, match="the record cannot be read") as told:
        compose_target(context).remover.plan_removal(owner_of(evil, REQUEST.repository), evil)
    assert f"docker volume rm {evil.namespace}_record-1" in str(told.value.hint)
