"""Which volumes the branches of a seed share, who mounts them, and when they go."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tasks.core.compose.record import RECORD
from tasks.core.compose.stages import PROJECT
from tasks.core.environment_data import Data
from tasks.core.errors import InputError
from tasks.flows.cleanup import remove
from tasks.flows.compose.inventory import write_record
from tasks.flows.compose.plan import ComposePlan
from tasks.flows.compose.shared_uploads import FOLDERS
from tasks.flows.compose.target import compose_target
from tasks.flows.target import RemovalPlan, SharedUploads, Target
from tests.support.fake_engine import FakeCompose, FakeEngine, a_context
from tests.support.fakes import NAMES, REQUEST

ID, OTHER = "20260102t030405", "20260203t040506"
PARTS = (*FOLDERS, "whole")
SHARED = replace(
    REQUEST, data=f"seed:{ID}", resolve=lambda _: Data(f"seed:{ID}", "a seed", shares=True)
)


class Bench:
    """A target on a played engine, and what `docker run` was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = FakeEngine()
        self.compose = FakeCompose(self.engine)
        self.context, _ = a_context(self.engine, self.compose)
        self.target: Target[ComposePlan] = compose_target(self.context)
        self.ran: list[list[str]] = []
        self.files: list[list[str]] = []
        self.status = 0
        run = self.compose.run

        def pipe(argv: Sequence[str], *, source: Iterable[bytes], **_: Any) -> int:
            self.ran.append([*argv, *(part.decode() for part in source)])
            for word in argv:
                if "/media/" in word:  # as Docker does
                    self.engine.create_volume(word.partition(":")[0], {})
            return self.status

        def watched(argv: Sequence[str], **options: Any) -> Any:
            laid = [
                word.rpartition("/")[2]
                for flag, word in itertools.pairwise(argv)
                if flag == "--file"
            ]
            self.files.append([*laid, (options["env"] or {}).get("SEED_UPLOADS") or ""])
            return run(argv, **options)

        monkeypatch.setattr(self.compose, "pipe", pipe)
        monkeypatch.setattr(self.compose, "run", watched)

    @property
    def uploads(self) -> SharedUploads:
        assert self.target.uploads
        return self.target.uploads

    def begin(self) -> ComposePlan:
        plan = self.target.deployer.plan_deploy(SHARED)
        self.target.deployer.begin(plan)
        return plan


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def names(id_: str) -> set[str]:
    return {f"mautic-platform_seed-{id_}-{each}" for each in FOLDERS}


def seeds(bench: Bench) -> set[str]:
    """Return the volumes of seeds."""
    return {name for name in bench.engine.kept if "_seed-" in name}


def test_a_seed_s_uploads_are_put_into_volumes_that_are_nobody_s(bench: Bench) -> None:
    bench.status = 1
    assert bench.uploads.fill(ID, "the image", [b"sealed"], print) == 1
    assert f"mautic-platform_seed-{ID}-whole" not in bench.engine.kept
    bench.status = 0
    assert bench.uploads.fill(ID, "the image", [b"sealed"], print) == 0
    assert seeds(bench) == names(ID) | {f"mautic-platform_seed-{ID}-whole"}
    _, ran = bench.ran
    assert ran[:2] == ["docker", "run"]
    assert ran[-5:] == ["mautic", "the image", "uploads", "fill", "sealed"]
    assert {each.partition(":")[0] for each in ran if "/media/" in each} == names(ID)
    # With the labels of an owner they would go with that branch.
    assert not any(each.labels for each in bench.engine.kept.values())


def test_a_branch_that_shares_mounts_them_at_every_deploy_and_no_other_does(bench: Bench) -> None:
    plan = bench.begin()
    assert ("share", f"uploads of seed:{ID}") in [(step.verb, step.subject) for step in plan.steps]
    bench.uploads.fill(ID, "the image", [], print)
    bench.target.deployer.apply(plan)
    bench.target.deployer.finish(plan)
    laid = ["compose.yaml", "compose.seed.yaml", f"mautic-platform_seed-{ID}"]
    assert bench.files
    assert all(each == laid for each in bench.files if each[:1] == ["compose.yaml"])
    bench.files.clear()
    # What was asked for at its first deploy is remembered.
    assert bench.target.deployer.plan_deploy(REQUEST).steps == ()
    assert bench.files == [laid]


def test_a_copy_mounts_nothing_more(bench: Bench) -> None:
    copying = replace(SHARED, resolve=lambda _: Data(f"seed:{ID}", "a seed"))
    plan = bench.target.deployer.plan_deploy(copying)
    assert bench.files == [["compose.yaml", ""]]
    assert "share" not in [step.verb for step in plan.steps]


def test_they_go_with_the_last_branch_that_shares_them(bench: Bench) -> None:
    # The record is there before the volumes are.
    bench.begin()
    for id_ in (ID, OTHER):
        bench.uploads.fill(id_, "the image", [], print)
    bench.engine.create_volume(f"other-platform_seed-{ID}-files", {})
    assert bench.uploads.unused() == [OTHER]
    bench.uploads.remove(OTHER)
    assert bench.uploads.unused() == []
    # As one that was found unused before this branch came.
    there = seeds(bench)
    bench.uploads.remove(ID)
    assert seeds(bench) == there
    for item in bench.engine.volumes(RECORD):
        bench.engine.remove_volume(item.name)
    assert bench.uploads.unused() == [ID]
    bench.uploads.remove(ID)
    assert set(bench.engine.kept) == {f"other-platform_seed-{ID}-files"}


@pytest.mark.parametrize("gone", PARTS)
def test_what_was_removed_by_hand_is_there_again_after_the_next_deploy(
    bench: Bench, gone: str
) -> None:
    plan = bench.begin()
    bench.uploads.fill(ID, "the image", [], print)
    bench.target.deployer.apply(plan)
    bench.target.deployer.finish(plan)
    bench.engine.remove_volume(f"mautic-platform_seed-{ID}-{gone}")
    plan = bench.target.deployer.plan_deploy(REQUEST)
    assert (plan.shares, plan.fills) == (True, False)
    assert ("share", f"uploads of seed:{ID}") in [(step.verb, step.subject) for step in plan.steps]
    # Whoever makes them and is killed then has not filled them.
    bench.status = 137
    bench.uploads.fill(ID, "the image", [], print)
    assert bench.target.deployer.plan_deploy(REQUEST).shares
    bench.status = 0
    bench.uploads.fill(ID, "the image", [], print)
    assert bench.target.deployer.plan_deploy(REQUEST).steps == ()


def test_what_is_gone_here_and_in_the_store_is_told_before_a_deploy_begins(bench: Bench) -> None:
    def gone(choice: str) -> Data:
        raise InputError(f"there is no {choice}")

    later = replace(SHARED, resolve=gone)
    plan = bench.begin()
    bench.uploads.fill(ID, "the image", [], print)
    bench.target.deployer.apply(plan)
    bench.target.deployer.finish(plan)
    assert bench.target.deployer.plan_deploy(later).steps == ()
    bench.engine.remove_volume(f"mautic-platform_seed-{ID}-images")
    with pytest.raises(InputError, match=rf"the uploads of seed:{ID} are gone here.*there is no"):
        bench.target.deployer.plan_deploy(later)


def test_they_go_when_the_last_branch_is_cleaned_up(bench: Bench) -> None:
    bench.begin()
    bench.uploads.fill(ID, "the image", [], print)
    bench.uploads.fill(OTHER, "the image", [], print)
    others = seeds(bench) - {f"mautic-platform_seed-{ID}-{part}" for part in PARTS}

    def plan() -> RemovalPlan:
        return bench.target.remover.plan_removal(SHARED.owner, NAMES)

    step = ("remove", f"uploads of seed {ID}")
    alone = plan()
    assert step in [(each.verb, each.subject) for each in alone.steps]
    # Another branch comes to share them after that was planned.
    (own,) = bench.engine.volumes(RECORD)
    bench.engine.create_volume("mautic-y_record-1", {**own.labels, PROJECT: "mautic-y"})
    assert step not in [(each.verb, each.subject) for each in plan().steps]
    remove(alone, print, print)
    assert len(seeds(bench)) == len(PARTS) + len(others)

    bench.engine.remove_volume("mautic-y_record-1")
    bench.begin()
    remove(plan(), print, print)
    assert seeds(bench) == others
    assert plan().steps == ()


def test_a_branch_that_has_a_copy_holds_none(bench: Bench) -> None:
    plan = bench.begin()
    bench.uploads.fill(ID, "the image", [], print)
    record = bench.context.inventory(SHARED.owner, NAMES).record
    assert record
    copy: Any = replace(record, shares=False)
    write_record(bench.engine, plan.request.owner, NAMES, copy)  # type: ignore[arg-type]
    assert bench.uploads.unused() == [ID]


def test_nothing_goes_while_a_record_cannot_be_read(bench: Bench) -> None:
    bench.uploads.fill(ID, "the image", [], print)
    bench.engine.create_volume("mautic-x_record-1", {RECORD: "{"})
    assert bench.uploads.unused() == []
