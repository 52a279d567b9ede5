"""In which order a clean-up does what."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tasks.core.errors import RefusedError, SuiteError, VanishedError
from tasks.core.images.tags import IMAGES
from tasks.core.plan import Step
from tasks.flows.cleanup import plan_cleanup, run_cleanup
from tasks.flows.target import RemovalPlan
from tests.support.fakes import ME, NAMES, REQUEST, FakeRemover, a_console
from tests.support.fakes_images import FakeRegistry

WEB, VOLUME = Step("remove", "container web"), Step("remove", "volume database")
KEPT = Step("keep", "namespace x", "it holds configmap/own of somebody else")
GONE = ["remove container web", "remove volume database"]


def clean(remover: FakeRemover, root: Path) -> tuple[int, str]:
    console, said = a_console()
    plan = partial(
        *(plan_cleanup, remover, REQUEST.owner, NAMES), tags=None, protected=False, root=root
    )
    return run_cleanup(remover, plan, NAMES, me=ME, console=console), said.getvalue()


def test_it_is_planned_again_under_the_lock(tmp_path: Path) -> None:
    remover = FakeRemover(left=[WEB, VOLUME])
    removed, said = clean(remover, tmp_path)
    assert remover.seen == ["plan", "lock", "plan", *GONE, "unlock"]
    assert removed == 2
    assert "removed container web" in said


@pytest.mark.parametrize("left", [[], [KEPT]])
def test_where_nothing_is_left_not_even_a_lock_is_made(tmp_path: Path, left: list[Step]) -> None:
    remover = FakeRemover(left=left)
    assert clean(remover, tmp_path)[0] == 0
    assert remover.seen == ["plan"]


def test_what_is_kept_is_told_and_not_counted(tmp_path: Path) -> None:
    remover = FakeRemover(left=[WEB, KEPT])
    removed, said = clean(remover, tmp_path)
    assert removed == 1
    assert remover.left == [KEPT]
    assert f"kept {KEPT.subject}: {KEPT.reason}" in said


def test_one_that_is_under_way_is_waited_for_without_a_lock(tmp_path: Path) -> None:
    remover = FakeRemover(left=[WEB, VOLUME], under_way=True)
    assert clean(remover, tmp_path)[0] == 2
    assert remover.seen == ["plan", *GONE]


def test_what_vanishes_while_it_waits_is_planned_again(tmp_path: Path) -> None:
    remover = FakeRemover(left=[WEB], fails={"lock": [VanishedError("gone")]})
    assert clean(remover, tmp_path)[0] == 1
    assert remover.seen == ["plan", "lock", "plan", "lock", "plan", GONE[0], "unlock"]


def test_one_that_fails_is_finished_by_the_next(tmp_path: Path) -> None:
    remover = FakeRemover(left=[WEB, VOLUME], fails={GONE[1]: [SuiteError("in use")]})
    with pytest.raises(SuiteError, match="in use"):
        clean(remover, tmp_path)
    assert remover.seen[-1] == "unlock"
    assert remover.left == [VOLUME]
    assert clean(remover, tmp_path)[0] == 1
    assert remover.left == []


def test_the_diagnostics_of_failed_deploys_go_last(tmp_path: Path) -> None:
    others = tmp_path / "artifacts" / "prod" / NAMES.slug
    folder = tmp_path / "artifacts" / NAMES.environment / NAMES.slug
    for each in (others, folder):
        each.mkdir(parents=True)
    remover = FakeRemover(left=[WEB])
    removed, said = clean(remover, tmp_path)
    assert removed == 2
    assert not folder.exists()
    assert others.exists()
    assert said.index("removed container web") < said.index(
        f"removed folder artifacts/{NAMES.environment}/{NAMES.slug}"
    )


def test_nothing_of_a_protected_environment_is_looked_at(tmp_path: Path) -> None:
    remover = FakeRemover(left=[WEB])
    with pytest.raises(RefusedError, match="local is protected"):
        plan_cleanup(remover, REQUEST.owner, NAMES, tags=None, protected=True, root=tmp_path)
    assert remover.seen == []


ORDER = ["plan", "lock", "plan", *GONE]


@pytest.mark.parametrize("end", [SuiteError("no answer"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", range(len(ORDER)), ids=lambda at: f"{at} {ORDER[at]}")
def test_one_that_ends_early_lets_go_and_the_next_one_finishes(
    tmp_path: Path, at: int, end: BaseException
) -> None:
    remover = FakeRemover(left=[WEB, VOLUME])
    # The second plan fails, not the first one.
    remover.skips = {"plan": 1} if at == 2 else {}
    remover.fails = {ORDER[at]: [end]}
    with pytest.raises(type(end)):
        clean(remover, tmp_path)
    is_held = at > ORDER.index("lock")
    assert remover.seen == [*ORDER[: at + 1], *(["unlock"] if is_held else [])]
    removed = max(0, at - ORDER.index(GONE[0]))
    assert remover.left == [WEB, VOLUME][removed:]
    remover.seen.clear()
    assert clean(remover, tmp_path)[0] == 2 - removed
    assert remover.seen == [*ORDER[:3], *GONE[removed:], "unlock"]
    assert clean(remover, tmp_path)[0] == 0


def test_the_image_tags_of_a_branch_go_after_what_runs_and_its_markers_last(
    tmp_path: Path,
) -> None:
    remover, registry = FakeRemover(left=[WEB]), FakeRegistry()
    registry.seen = remover.seen
    for name in IMAGES:
        for tag in ("content-0123456789abcdef", "1a2b", f"branch.{NAMES.slug}.1a2b", "other"):
            registry.push(name, tag, "theirs" if tag == "other" else "ours")
    plan = partial(
        *(plan_cleanup, remover, REQUEST.owner, NAMES),
        tags=registry,
        protected=False,
        root=tmp_path,
    )
    console, _ = a_console()
    # Cut off after the first tags: the markers lead the next clean-up to the rest.
    first = "delete mautic 1a2b content-0123456789abcdef"
    marker = f"delete mautic branch.{NAMES.slug}.1a2b"
    registry.fails = {marker: [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        run_cleanup(remover, plan, NAMES, me=ME, console=console)
    assert remover.seen == ["plan", "lock", "plan", GONE[0], first, marker, "unlock"]
    remover.seen.clear()
    assert run_cleanup(remover, plan, NAMES, me=ME, console=console) == 3
    assert remover.seen == [
        *("plan", "lock", "plan", marker),
        *(first.replace("mautic", "nginx"), marker.replace("mautic", "nginx"), "unlock"),
    ]
    assert registry.images == {name: {"other": "theirs"} for name in IMAGES}


def test_a_pipe_is_told_what_else_goes_and_how_many_objects_went(tmp_path: Path) -> None:
    namespace = Step("remove", "namespace x", "configmap/ca, which every namespace has")
    todo = [(Step("remove", f"volume {number}"), namespace)[number == 3] for number in range(6)]
    plan = RemovalPlan("clean up x", tuple((step, lambda _: None) for step in todo))
    console, said = a_console(verbose=False)
    assert run_cleanup(FakeRemover(), lambda: plan, NAMES, me=ME, console=console) == 6
    heading, told, end = said.getvalue().splitlines()
    assert heading == "clean up x …"
    assert told == f"  removed {namespace.subject}, {namespace.reason}"
    assert end.startswith("✓ clean up x: 6 objects removed (")
