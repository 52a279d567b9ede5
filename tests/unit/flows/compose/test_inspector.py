"""What `inv list` makes of an engine's objects."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tasks.adapters.docker.engine import Container
from tasks.core.compose.record import RECORD, STYLE, ComposeRecord, owner_labels
from tasks.core.compose.stages import PROJECT
from tasks.core.environment import Holder, Release, State
from tasks.core.errors import UnreadableError
from tasks.core.settings import names_of, names_of_all_styles
from tasks.flows.compose.inspector import summary
from tasks.flows.compose.inventory import write_record
from tasks.flows.compose.target import compose_target
from tasks.flows.gc import Branches, Sweeper, plan_sweep
from tasks.flows.target import owner_of
from tasks.flows.views import now
from tests.support.fake_engine import FakeCompose, FakeEngine, a_context
from tests.support.fakes import ME, NAMES, RELEASE, REQUEST
from tests.unit.core.test_names import TWINS

OWNER = owner_of(NAMES, "git@example.org:a/b.git")
WELL = Container("1", "p-web-1", "n@sha256:1", "running", "Up 3 minutes (healthy)", {})
SICK = replace(WELL, status="Up 3 minutes (unhealthy)")
ENDED = replace(WELL, state="exited", status="Exited (1) 2 minutes ago")
ONE_OFF = replace(ENDED, labels={"com.docker.compose.oneoff": "True"})


@pytest.mark.parametrize(
    ("status", "health", "uptime"),
    [
        ("Up 3 minutes (healthy)", "healthy", "Up 3 minutes"),
        ("Up 3 minutes (unhealthy)", "unhealthy", "Up 3 minutes"),
        ("Up 2 seconds (health: starting)", "starting", "Up 2 seconds"),
        ("Up 2 seconds", "", "Up 2 seconds"),
        ("Exited (1) 2 minutes ago", "", "Exited (1) 2 minutes ago"),
    ],
)
def test_health_is_told_once(status: str, health: str, uptime: str) -> None:
    found = replace(WELL, status=status)
    assert (found.health, found.uptime) == (health, uptime)


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


def test_images_are_told_by_containers_and_record() -> None:
    stopped = replace(ENDED, image="m@sha256:2")
    engine = FakeEngine()
    context, _ = a_context(engine, FakeCompose(engine))
    labels = {PROJECT: NAMES.namespace, **owner_labels(OWNER)}
    engine.there = {each.id: replace(each, labels=labels) for each in (WELL, stopped)}
    engine.there["2"] = replace(stopped, labels=labels)
    write_record(engine, OWNER, NAMES, record(State.READY, RELEASE))  # type: ignore[arg-type]
    elsewhere = replace(NAMES, namespace="another-project-x")
    begun = replace(record(State.DEPLOYING), registry="localhost:5051/m")
    write_record(engine, OWNER, elsewhere, begun)  # type: ignore[arg-type]
    uses = {use.where: use for use in compose_target(context).inspector.image_uses()}
    mine = uses[NAMES.namespace]
    assert (mine.environment, mine.branch, mine.slug) == ("local", NAMES.branch, NAMES.slug)
    assert (mine.sleeps, mine.releases, mine.tags) == (
        {"sha256:2"},
        {"sha256:1"},
        {RELEASE.tag},
    )
    assert mine.busy is False
    # Of another project on the same engine, in the middle of a deploy.
    assert uses["another-project-x"].busy is True
    assert uses["another-project-x"].registries == {"localhost:5051/m"}


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
    everybody = Sweeper(OWNER.repository, "ada@host:/x", True, timedelta(hours=2))
    none = Branches((), (), private=True)
    sweep = plan_sweep("local", [evil], everybody, none, now=now())
    assert (sweep.stale, sweep.unreadable) == ((), (evil,))
    uses = {use.where: use for use in target.inspector.image_uses()}
    is_record_broken = RECORD in changes or volume != "_record-1"
    assert bool(uses[evil.namespace].problem) is is_record_broken
    assert uses[NAMES.namespace].releases == frozenset()
    # The other one is removed as ever.
    for _, remove in target.remover.plan_removal(OWNER, NAMES).todo:
        remove(print)
    assert len(engine.kept) == 1


@pytest.mark.parametrize(
    ("changes", "volume"),
    [
        ({"io.mautic-multidev.branch": "a..b", "io.mautic-multidev.slug": "theirs"}, "_record-1"),
        ({PROJECT: "another-evil-x"}, "_record-x"),
    ],
)
def test_what_is_broken_of_another_project_is_not_listed(
    changes: dict[str, str | None], volume: str
) -> None:
    engine = planted(changes, volume)
    context, _ = a_context(engine, FakeCompose(engine))
    inspector = compose_target(context).inspector
    assert [item.branch for item in inspector.list()] == [NAMES.branch]
    # What it uses of images is kept all the same.
    assert len(inspector.image_uses()) == 2


def test_its_own_clean_up_says_how_to_go_on() -> None:
    engine = planted({RECORD: "{"})
    context, _ = a_context(engine, FakeCompose(engine))
    evil = names_of(context.settings, NAMES.environment, "evil/x")
    with pytest.raises(UnreadableError, match="the record cannot be read") as told:
        compose_target(context).remover.plan_removal(owner_of(evil, REQUEST.repository), evil)
    assert f"docker volume rm {evil.namespace}_record-1" in str(told.value.hint)


# -- names of before ------------------------------------------------------------------------------


def test_an_environment_of_before_is_found_under_its_former_names() -> None:
    engine = FakeEngine()
    context, _ = a_context(engine, FakeCompose(engine))
    target = compose_target(context)
    present, former = names_of_all_styles(context.settings, NAMES.environment, NAMES.branch)
    assert target.inspector.find_names([present, former]) == present
    owner = owner_of(former, OWNER.repository)
    write_record(engine, owner, former, record(State.READY))  # type: ignore[arg-type]
    for name, volume in engine.kept.items():  # that version did not store the style
        labels = {key: text for key, text in volume.labels.items() if key != STYLE}
        engine.kept[name] = replace(volume, labels=labels)
    for _ in range(2):
        assert target.inspector.find_names([present, former]) == former
        assert [item.slug for item in target.inspector.list()] == [former.slug]
        # The present version updates it: still under its former names.
        write_record(engine, owner, former, record(State.READY))  # type: ignore[arg-type]
        assert len(engine.kept) == 1
    for _, remove in target.remover.plan_removal(owner, former).todo:
        remove(print)
    assert engine.kept == {}
    assert target.inspector.find_names([present, former]) == present


def test_of_two_styles_in_one_namespace_the_stored_one_counts() -> None:
    """Long names of databases and users differ even where the namespace does not."""
    engine = FakeEngine()
    context, _ = a_context(engine, FakeCompose(engine))
    inspector = compose_target(context).inspector
    present, former = names_of_all_styles(context.settings, NAMES.environment, "x" * 40)
    assert present.namespace == former.namespace
    assert present.database_user != former.database_user
    for names in (former, present):
        write_record(  # type: ignore[arg-type]
            engine, owner_of(names, OWNER.repository), names, record(State.READY)
        )
        assert inspector.find_names([present, former]) == names
        engine.kept.clear()


def test_a_branch_with_the_former_slug_of_another_gets_its_own_names() -> None:
    engine = FakeEngine()
    context, _ = a_context(engine, FakeCompose(engine))
    inspector = compose_target(context).inspector
    (_, victim), attacker = (
        names_of_all_styles(context.settings, NAMES.environment, branch) for branch in TWINS
    )
    assert attacker[1].namespace == victim.namespace
    write_record(  # type: ignore[arg-type]
        engine, owner_of(victim, OWNER.repository), victim, record(State.READY)
    )
    assert inspector.find_names(attacker) == attacker[0]
