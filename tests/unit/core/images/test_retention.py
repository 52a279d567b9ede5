"""Which images are kept, by which rule, and which go."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.core.errors import InputError
from tasks.core.images.content_key import content_key
from tasks.core.images.retention import (
    ImageUse,
    KeepingRule,
    Policies,
    StoredImage,
    TagPolicy,
    judge,
    name_in,
    parse_policy,
    stale_tags,
)

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=30)
TWO_HOURS = Policies(timedelta(hours=2))
HISTORIES = 1000


def digest(name: str) -> str:
    return f"sha256:{name.encode().hex():0<64.64}"


def image(
    name: str, *tags: str, at: datetime | None = OLD, repository: str = "mautic"
) -> StoredImage:
    return StoredImage(repository, digest(name), tags, at)


def use(branch: str = "feature/x", **changes: object) -> ImageUse:
    known = {"slug": branch.replace("/", "-"), "branch": branch, **changes}
    return ImageUse("dev", f"mautic-{branch}", **known)  # type: ignore[arg-type]


def rules(
    *images: StoredImage,
    uses: tuple[ImageUse, ...] = (),
    policies: Policies = TWO_HOURS,
    tips: dict[str, str] | None = None,
) -> list[KeepingRule]:
    return [each.rule for each in judge(images, uses, policies, tips or {}, now=NOW)]


A = frozenset({digest("a")})


@pytest.mark.parametrize(
    ("uses", "tips", "expected"),
    [
        ((), {}, KeepingRule.NONE),
        ((use(),), {}, KeepingRule.NONE),
        ((use(runs=A),), {}, KeepingRule.RUNS),
        ((use(sleeps=A),), {}, KeepingRule.SLEEPS),
        ((use(releases=A),), {}, KeepingRule.RELEASE),
        ((use(releases=A), use("other", runs=A)), {}, KeepingRule.RUNS),
        ((use(releases=frozenset({"1a2b3c4d"})),), {}, KeepingRule.RELEASE),
        ((use(releases=frozenset({"1a2b3c4"})),), {}, KeepingRule.NONE),
        ((use(busy=True),), {}, KeepingRule.BUSY),
        ((use("other", busy=True),), {}, KeepingRule.NONE),
        ((use(problem="damaged"),), {}, KeepingRule.UNREADABLE),
        ((use("other", problem="damaged"),), {}, KeepingRule.NONE),
        ((use("other", problem="damaged", slug=""),), {}, KeepingRule.UNREADABLE),
        ((), {"1a2b3c4d": "main"}, KeepingRule.TIP),
        ((), {"5e6f7a8b": "main"}, KeepingRule.NONE),
    ],
)
def test_what_environments_and_branches_name_is_kept(
    uses: tuple[ImageUse, ...], tips: dict[str, str], expected: KeepingRule
) -> None:
    one = image("a", "1a2b3c4d", "branch.feature-x.1a2b3c4d", content_key(1))
    assert rules(one, uses=uses, tips=tips) == [expected]


@pytest.mark.parametrize(
    ("tags", "at", "expected"),
    [
        (("1",), NOW - timedelta(hours=2), KeepingRule.NONE),
        (("1",), NOW - timedelta(minutes=119), KeepingRule.YOUNG),
        ((), NOW - timedelta(minutes=119), KeepingRule.YOUNG),
        (("1",), None, KeepingRule.YOUNG),
        (("1", "latest"), OLD, KeepingRule.TAG),
        (("cache",), OLD, KeepingRule.TAG),
        ((), OLD, KeepingRule.NONE),
    ],
)
def test_age_and_tags(tags: tuple[str, ...], at: datetime | None, expected: KeepingRule) -> None:
    assert rules(image("a", *tags, at=at)) == [expected]


UPLOADS = "seed.20260102t030405"


@pytest.mark.parametrize(
    ("uses", "at", "expected"),
    [
        ((), OLD, KeepingRule.NONE),
        ((), NOW - timedelta(minutes=119), KeepingRule.YOUNG),
        # Whoever shares them was recorded before they were pushed.
        ((), None, KeepingRule.NONE),
        ((use(shares=frozenset({UPLOADS})),), None, KeepingRule.SHARED),
        ((use(shares=frozenset({"seed.20260102t030406"})),), OLD, KeepingRule.NONE),
        ((use(problem="damaged"), use("other")), OLD, KeepingRule.UNREADABLE),
        ((use(busy=True),), OLD, KeepingRule.NONE),
    ],
)
def test_a_seed_s_uploads_are_kept_while_a_branch_shares_them(
    uses: tuple[ImageUse, ...], at: datetime | None, expected: KeepingRule
) -> None:
    assert rules(image("a", UPLOADS, at=at, repository="seed-images"), uses=uses) == [expected]


def test_another_registry_s_branch_shares_nothing_here() -> None:
    other = use(shares=frozenset({UPLOADS}), registries=frozenset({"elsewhere"}))
    assert other.seen_from("here").shares == frozenset()
    assert other.seen_from("elsewhere").shares == {UPLOADS}


def test_policies_keep_by_number_by_age_and_for_ever() -> None:
    versions = [image(f"v{n}", f"v{n}", at=OLD + timedelta(days=n)) for n in range(5)]
    kept = tuple(map(parse_policy, ("v* newest 2", "keep-*", "r* for 29d")))
    policies = Policies(timedelta(0), kept)
    others = [
        image("k", "x", "keep-1"),
        image("r", "r1", at=NOW - timedelta(days=29)),
        image("s", "r2", at=NOW - timedelta(days=28)),
        image("v9", "v9", repository="nginx"),
    ]
    found = rules(*versions, *others, policies=policies)
    keeps, goes = KeepingRule.POLICY, KeepingRule.NONE
    assert found == [goes, goes, goes, keeps, keeps, keeps, goes, keeps, keeps]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v*", TagPolicy("v*", "v*")),
        ("v* newest 20", TagPolicy("v* newest 20", "v*", newest=20)),
        ("v* for 2w", TagPolicy("v* for 2w", "v*", hours=336)),
        ("v* for 2y", None),
        ("v* for 99999999999w", None),
        ("v* newest 0", None),
        ("v* w* newest 1", None),
    ],
)
def test_a_policy_is_read_from_its_text(text: str, expected: TagPolicy | None) -> None:
    if expected:
        assert parse_policy(text) == expected
    else:
        with pytest.raises(InputError, match="is no policy"):
            parse_policy(text)


def test_what_a_kept_image_lists_and_what_is_attached_stays_and_goes_with_it() -> None:
    def whole(name: str) -> list[StoredImage]:
        child = image(f"{name}-child")
        return [
            replace(image(name, name), children=(child.digest,)),
            child,
            # By the manifest, by the tag of the suite and of cosign; and one of the child.
            replace(image(f"{name}-1", at=None), subject=digest(name)),
            image(f"{name}-2", f"{digest(name).replace(':', '-')}.att", at=None),
            image(f"{name}-3", f"{digest(name).replace(':', '-')}.sig"),
            image(f"{name}-4", f"{child.digest.replace(':', '-')}.sbom"),
        ]

    found = rules(*whole("a"), *whole("b"), uses=(use(runs=A),))
    assert found == [KeepingRule.RUNS, *[KeepingRule.PART] * 5, *[KeepingRule.NONE] * 6]


def test_a_child_that_runs_does_not_keep_the_list() -> None:
    child = image("a")
    assert rules(
        replace(image("l", "l"), children=(child.digest,)), child, uses=(use(runs=A),)
    ) == [
        KeepingRule.NONE,
        KeepingRule.RUNS,
    ]


def test_the_unchanged_image_of_a_young_build_stays() -> None:
    """It was pushed long ago, and only tagged by that build."""
    young = image("a", "new", content_key(1), at=NOW)
    pair = image("b", "new", "older", content_key(2), repository="nginx")
    other = image("c", "older", repository="nginx")
    assert rules(young, pair, other) == [KeepingRule.YOUNG, KeepingRule.PART, KeepingRule.NONE]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("localhost:5050/mautic/mautic@sha256:1", "sha256:1"),
        ("localhost:5050/mautic/mautic:tag@sha256:1", "sha256:1"),
        ("localhost:5050/mautic/mautic:tag", "tag"),
        ("localhost:5050/mautic/mautic", "latest"),
    ],
)
def test_a_reference_names_a_digest_or_a_tag(reference: str, name: str) -> None:
    assert name_in(reference) == name


def test_tags_of_gone_branches_leave_images_that_stay_for_others() -> None:
    images = [
        image("a", "1", "branch.alive.1", "2", "branch.gone.2", content_key(1)),
        image("b", "3", "branch.gone.3"),
        image("c", "4", "branch.gone.4", "branch.alive.5", at=NOW),
    ]
    runs = use(runs=frozenset({digest("a"), digest("b")}))
    verdicts = judge(images, (runs,), TWO_HOURS, {}, now=NOW)
    # The image of `b` has no other tags, and `c` is young.
    assert stale_tags(verdicts, [runs], {"alive"}) == {"mautic": ("2", "branch.gone.2")}
    used = replace(runs, tags=frozenset({"2"}))
    assert stale_tags(verdicts, [used], {"alive"}) == {"mautic": ("branch.gone.2",)}
    assert stale_tags(verdicts, [runs], {"alive", "gone"}) == {}
    assert stale_tags(verdicts, [runs, use("gone")], {"alive"}) == {}
    assert stale_tags(verdicts, [runs, use("x", slug="")], {"alive"}) == {}


# -- histories ------------------------------------------------------------------------------------


@dataclass
class World:
    """A registry, branches and environments, as a random history changes them.

    The rules are told a second time here, each as its own sentence, in other words than the code's.
    """

    now: datetime = NOW
    stored: dict[str, StoredImage] = field(default_factory=dict)
    tips: dict[str, str] = field(default_factory=dict)
    releases: dict[str, list[tuple[str, ...]]] = field(default_factory=dict)
    asleep: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    serial: int = 0

    def push(self, branch: str) -> None:
        """Commit and build: each image is new, or an old one that is tagged once more."""
        self.serial += 1
        tag = f"{self.serial:08x}"
        self.tips[branch] = tag
        tags = (tag, f"branch.{branch}.{tag}")
        if self.serial % 2:
            tags += (f"v{self.serial}",)
        self.build("mautic", tags, changed=self.serial % 4 != 0)
        self.build("nginx", tags, changed=self.serial % 3 == 0)

    def build(self, repository: str, tags: tuple[str, ...], *, changed: bool) -> None:
        there = [
            each
            for each in self.stored.values()
            if each.repository == repository and each.tags and not each.attached_to
        ]
        if there and not changed:
            old = there[self.serial % len(there)]
            self.stored[old.digest] = replace(old, tags=(*old.tags, *tags))
            return
        name = f"{repository[0]}{tags[0]}"
        key = content_key(name)
        one = image(name, *tags, key, at=self.now, repository=repository)
        parts = [
            image(f"c{name}", at=self.now, repository=repository),
            image(
                f"t{name}", f"{one.digest.replace(':', '-')}.att", repository=repository, at=None
            ),
        ]
        one = replace(one, children=(parts[0].digest,)) if self.serial % 5 == 0 else one
        self.stored |= {each.digest: each for each in (one, *parts)}

    def deploy(self, branch: str) -> None:
        tip = self.tips.get(branch)
        both = tuple(each.digest for each in self.stored.values() if tip in each.tags)
        if len(both) == 2:
            self.releases[branch] = [*self.releases.get(branch, []), both][-10:]
            self.asleep.discard(branch)
            self.broken.discard(branch)

    def roll_back(self, branch: str) -> None:
        if len(self.releases.get(branch, [])) > 1:
            self.releases[branch] = [*self.releases[branch], self.releases[branch][-2]][-10:]

    def act(self, what: str, branch: str) -> None:
        has_environment = branch in self.releases
        if what == "push":
            self.push(branch)
        elif what == "deploy":
            self.deploy(branch)
        elif what == "roll back":
            self.roll_back(branch)
        elif what == "sleep" and has_environment:
            self.asleep.add(branch)
        elif what == "break" and has_environment:
            self.broken.add(branch)
        elif what == "delete":
            self.tips.pop(branch, None)
        elif what == "clean up":
            self.releases.pop(branch, None)
            self.asleep.discard(branch)
            self.broken.discard(branch)
        elif what == "wait":
            self.now += timedelta(minutes=50)

    @property
    def uses(self) -> list[ImageUse]:
        found = []
        for branch, releases in self.releases.items():
            if branch in self.broken:
                found.append(use(branch, problem="damaged"))
                continue
            kind = "sleeps" if branch in self.asleep else "runs"
            known = {kind: frozenset(releases[-1]), "releases": frozenset(sum(releases, ()))}
            found.append(use(branch, **known))
        return found

    POLICIES = Policies(
        timedelta(hours=2), (TagPolicy("v* newest 3", "v*", newest=3), TagPolicy("v7", "v7"))
    )

    def sweep(self) -> None:
        verdicts = judge(
            list(self.stored.values()),
            self.uses,
            self.POLICIES,
            {tag: branch for branch, tag in self.tips.items()},
            now=self.now,
        )
        wanted = self.wanted()
        going = {each.image.digest for each in verdicts if each.goes}
        assert not going & wanted, "an image goes that a rule names"
        assert self.stored.keys() - going <= wanted, "an image stays that no rule names"
        self.stored = {key: one for key, one in self.stored.items() if key not in going}
        again = judge(
            list(self.stored.values()),
            self.uses,
            self.POLICIES,
            {tag: branch for branch, tag in self.tips.items()},
            now=self.now,
        )
        assert not [each for each in again if each.goes], "the second run has something to do"

    def wanted(self) -> set[str]:
        images = list(self.stored.values())
        wanted = {
            one
            for branch, all_of in self.releases.items()
            if branch not in self.broken
            for both in all_of
            for one in both
        }
        wanted |= {
            each.digest
            for each in images
            if any(f"branch.{branch}." in tag for branch in self.broken for tag in each.tags)
        }
        edge = self.now - timedelta(hours=2)
        young = [one for one in images if one.pushed_at and one.pushed_at > edge]
        wanted |= {each.digest for each in young}
        wanted |= {each.digest for each in images if set(each.tags) & set(self.tips.values())}
        for repository in ("mautic", "nginx"):
            versions = [
                (one.pushed_at, one.digest)
                for one in images
                if one.repository == repository and any(tag[0] == "v" for tag in one.tags)
            ]
            wanted |= {found for _, found in sorted(versions)[-3:]}  # type: ignore[type-var]
        wanted |= {each.digest for each in images if "v7" in each.tags}
        shared = {tag for one in young for tag in one.tags if len(tag) <= 8}
        wanted |= {each.digest for each in images if set(each.tags) & shared}
        for _ in range(3):
            parts = {child for one in images if one.digest in wanted for child in one.children}
            parts |= {one.digest for one in images if one.attached_to in wanted}
            wanted |= parts
        return wanted & self.stored.keys()


ACTIONS = ("push", "push", "deploy", "deploy", "roll back", "sleep", "break", "delete", "clean up")
STEPS = st.lists(
    st.tuples(
        st.sampled_from((*ACTIONS, "wait", "wait", "wait", "gc", "gc")),
        st.sampled_from(("main", "a", "b", "c")),
    ),
    min_size=20,
    max_size=60,
)


@settings(
    max_examples=HISTORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(STEPS)
def test_in_any_history_what_a_rule_names_stays_and_all_else_goes(
    steps: list[tuple[str, str]],
) -> None:
    world = World()
    for what, branch in steps:
        if what == "gc":
            world.sweep()
        else:
            world.act(what, branch)
    world.sweep()
