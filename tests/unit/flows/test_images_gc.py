"""The sweep of images: what is looked at, shown and removed, and in which order."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tasks.adapters.terminal.console import Activity
from tasks.core.errors import ClusterError, RegistryError
from tasks.core.images.retention import ImageUse, Policies, StoredImage
from tasks.flows.images_gc import (
    ImageSources,
    ImageSweep,
    find_image_sweep,
    run_image_sweep,
)
from tasks.flows.registry_port import Copy
from tests.support.fakes import Calls
from tests.support.fakes_images import URL, FakeGit, FakeRegistry, commit_of

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
PLACE = URL
OTHER = frozenset({"localhost:5051/mautic"})
"""The registry of another project."""
TWO_HOURS = Policies(timedelta(hours=2))


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def use(branch: str, *images: str, **changes: Any) -> ImageUse:
    runs = frozenset(map(digest, images))
    return replace(ImageUse("dev", f"mautic-{branch}", branch, branch, runs), **changes)


@dataclass
class Fake(Calls):
    """Environments and images, and what a sweep of them says."""

    registry: FakeRegistry = field(default_factory=FakeRegistry)
    uses: list[ImageUse] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry.seen = self.seen

    def push(self, name: str, *tags: str, hours: float = 100) -> None:
        for tag in tags:
            self.registry.push("mautic", tag, digest(name))
        self.registry.times[digest(name)] = NOW - timedelta(hours=hours)

    def sources(self, **changes: Any) -> ImageSources:
        git: Any = FakeGit(remote=frozenset({"main"}), local=frozenset({"mine"}), seen=self.seen)
        inspector: Any = self
        own = ImageSources(
            self.registry,
            PLACE,
            {"dev": lambda: inspector},
            TWO_HOURS,
            git,
            private=False,
            slugs_of=lambda branch: {branch},
        )
        return replace(own, **changes)

    def image_uses(self) -> Sequence[ImageUse]:
        self.note("environments")
        return list(self.uses)

    @contextlib.contextmanager
    def work(self, title: str) -> Iterator[Activity]:
        self.said.append(title)
        activity = Activity(self.said.append, self.said.append)
        yield activity
        self.said.append(activity.outcome)

    def plan(self, sources: ImageSources | None = None, **changes: Any) -> ImageSweep:
        options: dict[str, Any] = {"without": lambda _: False, "now": NOW, **changes}
        return find_image_sweep(sources or self.sources(), **options)

    def run(self, sweep: ImageSweep, sources: ImageSources | None = None) -> None:
        run_image_sweep(sweep, sources or self.sources(), work=self.work, now=lambda: NOW)

    def tags(self) -> set[str]:
        return set(self.registry.images.get("mautic", {}))


@pytest.fixture
def fake() -> Fake:
    """A living branch with three images, of which one runs; and one of a branch that is gone."""
    made = Fake(uses=[use("main", "b")])
    made.push("a", "1", "branch.main.1")
    made.push("b", "2", "branch.main.2", "3", "branch.gone.3")
    made.push("c", commit_of("main")[:8])
    made.push("d", "4", "branch.gone.4")
    made.push("e", "5", "branch.gone.5", hours=1)
    return made


ALL_OF_GONE = {"3", "branch.gone.3", "4", "branch.gone.4"}
KEPT = {"2", "branch.main.2", commit_of("main")[:8], "5", "branch.gone.5"}


def test_old_images_of_living_branches_go_and_the_second_run_has_nothing_to_do(fake: Fake) -> None:
    sweep = fake.plan()
    assert {image.digest for image in sweep.going} == {digest("a"), digest("d")}
    assert [step.subject for step in sweep.steps] == [
        "2 images of mautic",
        "image tags of mautic",
    ]
    assert fake.registry.tags("mautic").keys() > KEPT
    fake.run(sweep)
    assert fake.tags() == KEPT
    again = fake.plan()
    assert again.steps == ()
    fake.run(again)
    assert fake.tags() == KEPT


@pytest.mark.parametrize(
    ("another", "more"),
    [
        (use("gone", busy=True, registries=OTHER), set()),
        (use("main", tags=frozenset("1"), runs=frozenset("1"), registries=OTHER), set()),
        (use("gone", busy=True, registries=OTHER | {PLACE}), ALL_OF_GONE),
        # Where its images are is not known, or not of all.
        (use("gone", busy=True), ALL_OF_GONE),
        (use("gone", problem="broken", registries=OTHER), ALL_OF_GONE),
        # One registry may have two names.
        (use("gone", "d", registries=OTHER), {"4", "branch.gone.4"}),
    ],
)
def test_a_branch_of_the_same_name_in_another_project_keeps_no_tag(
    fake: Fake, another: ImageUse, more: set[str]
) -> None:
    fake.uses.append(another)
    fake.run(fake.plan())
    assert fake.tags() == KEPT | more


def test_images_are_read_before_branches_and_branches_before_environments(fake: Fake) -> None:
    class Registry(FakeRegistry):
        def stored(
            self, repository: str, times: Mapping[str, datetime] | None = None
        ) -> list[StoredImage]:
            self.note(f"images of {repository}")
            return []

    fake.plan(fake.sources(registry=Registry(seen=fake.seen)))
    assert fake.seen == [
        *("images of mautic", "images of nginx"),
        *("images of seed-dashboards", "images of seed-images", "images of seed-files"),
        *("remote branches", "environments"),
    ]


def test_uploads_of_a_seed_go_when_no_branch_shares_them(fake: Fake) -> None:
    shared, left = "seed.20260102t030405", "seed.20260101t030405"
    for name in ("seed-images", "seed-files"):
        fake.registry.push(name, shared, digest(f"{name} shared"))
        fake.registry.push(name, left, digest(f"{name} left"))
    fake.uses.append(use("main", shares=frozenset({shared})))
    sweep = fake.plan()
    assert {step.subject for step in sweep.steps} >= {"1 images of seed-images"}
    fake.run(sweep)
    assert list(fake.registry.images["seed-images"]) == [shared]
    assert list(fake.registry.images["seed-files"]) == [shared]
    # It may be anybody's whose record cannot be read.
    fake.uses[1:] = [use("broken", problem="damaged")]
    assert not [one for one in fake.plan().going if one.repository.startswith("seed-")]
    fake.uses.pop()
    assert len([one for one in fake.plan().going if one.repository.startswith("seed-")]) == 2


def test_a_registry_without_a_place_for_uploads_is_swept_all_the_same(fake: Fake) -> None:
    class Registry(FakeRegistry):
        def stored(
            self, repository: str, times: Mapping[str, datetime] | None = None
        ) -> list[StoredImage]:
            if repository.startswith("seed-"):
                raise RegistryError("there is no such repository")
            return super().stored(repository, times)

    registry = Registry(images=fake.registry.images, times=fake.registry.times, seen=fake.seen)
    sweep = fake.plan(fake.sources(registry=registry))
    assert {image.digest for image in sweep.going} == {digest("a"), digest("d")}
    assert sweep.problems == ("seed-dashboards: there is no such repository",)


@pytest.mark.parametrize("private", [False, True])
def test_the_newest_commit_of_a_branch_of_this_clone_counts_where_nobody_else_deploys(
    fake: Fake, private: bool
) -> None:
    fake.push("m", commit_of("mine")[:8])
    goes = digest("m") in {image.digest for image in fake.plan(fake.sources(private=private)).going}
    assert goes is not private


def test_what_is_deployed_while_the_sweep_runs_is_not_removed(fake: Fake) -> None:
    sweep = fake.plan()
    fake.uses.append(use("other", "a"))
    fake.run(sweep)
    assert fake.tags() == {*KEPT, "1", "branch.main.1"}
    assert any("it has come into use" in line for line in fake.said)


def test_two_sweeps_at_once_do_not_disturb_each_other(fake: Fake) -> None:
    one, two = fake.plan(), fake.plan()
    fake.run(one)
    fake.run(two)
    assert fake.tags() == KEPT


def test_an_environment_that_is_about_to_be_removed_keeps_nothing(fake: Fake) -> None:
    sweep = fake.plan(without=lambda found: found.branch == "main")
    assert digest("b") in {image.digest for image in sweep.going}


def out_of_reach() -> Any:
    raise ClusterError("the cluster cannot be reached")


@pytest.mark.parametrize(
    ("changes", "uses", "problem"),
    [
        ({"unseen": "other machines"}, [], "other machines: it cannot be seen from here"),
        (
            {"inspectors": {"qa": out_of_reach}},
            [],
            "qa: the cluster cannot be reached",
        ),
        ({}, [use("x", slug="", problem="damaged")], "x: damaged"),
    ],
)
def test_what_cannot_be_seen_keeps_everything_and_says_so(
    fake: Fake, changes: dict[str, Any], uses: list[ImageUse], problem: str
) -> None:
    fake.uses += uses
    before = fake.tags()
    sweep = fake.plan(fake.sources(**changes))
    assert sweep.steps == ()
    assert sweep.problems == (problem,)
    fake.run(sweep, fake.sources(**changes))
    assert fake.tags() == before


def test_an_environment_that_cannot_be_read_keeps_the_images_of_its_branch_alone(
    fake: Fake,
) -> None:
    fake.uses.append(use("gone", problem="damaged"))
    sweep = fake.plan()
    assert [image.digest for image in sweep.going] == [digest("a")]
    assert sweep.problems == ("gone: damaged",)


def test_lists_of_manifests_go_before_what_they_list_and_never_in_one_batch(fake: Fake) -> None:
    class Registry(FakeRegistry):
        def stored(
            self, repository: str, times: Mapping[str, datetime] | None = None
        ) -> list[StoredImage]:
            old = NOW - timedelta(days=9)
            child = StoredImage(repository, digest(f"{repository} child"), (), old)
            one = StoredImage(repository, digest(repository), ("1",), old, (child.digest,))
            return [child, one] if repository == "mautic" else []

    sources = fake.sources(registry=Registry(seen=fake.seen))
    fake.run(fake.plan(sources), sources)
    assert [line for line in fake.seen if line.startswith("delete")] == [
        f"delete images mautic {digest('mautic')}",
        f"delete images mautic {digest('mautic child')}",
    ]


def test_what_becomes_of_images_is_counted_by_rule_and_shown_for_each(fake: Fake) -> None:
    ((_, rows),) = fake.plan().tables(details=False)
    assert rows == [
        ("mautic", "1", "kept: it runs"),
        ("mautic", "1", "kept: it is young"),
        ("mautic", "1", "kept: a branch's newest commit"),
        ("mautic", "2", "removed: nothing needs it"),
        ("mautic", "-", "tags of gone branches removed: 3, branch.gone.3"),
    ]
    (_, details), _ = fake.plan().tables(details=True)
    assert (f"mautic@{digest('b')[:19]}", "2, branch.main.2, 3, branch.gone.3") == details[1][:2]
    assert details[1][2] == "kept: runs in main"
    told = fake.plan().as_dict()["images"]
    assert [(each["rule"], each["goes"]) for each in told] == [
        *(("none", True), ("runs", False), ("tip", False)),
        *(("none", True), ("young", False)),
    ]


# -- this machine -----------------------------------------------------------------------------


@dataclass
class FakeLocal(Calls):
    """A machine with copies of images; it records what is asked of it."""

    there: list[Copy] = field(default_factory=list)
    blobs: int = 0
    kept: Collection[str] = ()

    def push_times(self, repository: str) -> Mapping[str, datetime]:
        return {}

    def copies(self, kept: Collection[str], young_before: datetime) -> Sequence[Copy]:
        assert young_before == NOW - timedelta(hours=2)
        self.kept = kept
        return self.there

    def remove_copy(self, copy: Copy) -> None:
        self.note(f"remove copy {copy.id}")
        self.there.remove(copy)

    def garbage(self) -> int:
        return self.blobs

    def collect(self, say: Callable[[str], None]) -> str:
        self.note("collect")
        self.blobs = 0
        return "1.0 MB freed"


def test_copies_and_garbage_of_this_machine_go_after_the_images(fake: Fake) -> None:
    local = FakeLocal(there=[Copy("i", ("x:1",), 7_000_000)], seen=fake.seen)
    sources = fake.sources(local=local)
    sweep = fake.plan(sources)
    assert {f"mautic@{digest('b')}", "mautic:2", f"mautic@{digest('e')}"} <= set(local.kept)
    assert not {f"mautic@{digest('a')}", "mautic:1"} & set(local.kept)
    fake.seen.clear()
    fake.run(sweep, sources)
    assert fake.seen[-2:] == ["remove copy i", "collect"]
    assert fake.said[-1] == "1.0 MB freed"
    assert fake.plan(sources).steps == ()


def test_garbage_that_an_interrupted_sweep_has_left_is_collected(fake: Fake) -> None:
    fake.run(fake.plan())
    local = FakeLocal(blobs=3, seen=fake.seen)
    sweep = fake.plan(fake.sources(local=local))
    assert [step.subject for step in sweep.steps] == ["3 blobs of the local registry"]
    fake.run(sweep, fake.sources(local=local))
    assert fake.seen[-1] == "collect"
