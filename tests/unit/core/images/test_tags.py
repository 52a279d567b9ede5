"""Which tags a build sets, and which go when a branch goes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.images.content_key import content_key, is_content_key
from tasks.core.images.tags import (
    CACHE,
    branch_marker,
    build_tags,
    removable,
    shown,
    slugs,
    variant,
)
from tasks.core.names import slug

KEY, KEY2 = content_key(1), content_key(2)
OCI_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
DIRTY = "1a2b3c4d-dirty-0011aabb"


@pytest.mark.parametrize(
    ("kinds", "tag", "dirty", "expected"),
    [
        (["short-sha"], "1a2b3c4d", False, ("1a2b3c4d", "branch.x.1a2b3c4d")),
        (["short-sha", "latest"], "1a2b3c4d", False, ("1a2b3c4d", "latest", "branch.x.1a2b3c4d")),
        (["short-sha"], DIRTY, True, (DIRTY, f"branch.x.{DIRTY}")),
        # latest only ever names a commit
        (["short-sha", "latest"], DIRTY, True, (DIRTY, f"branch.x.{DIRTY}")),
        (["latest"], "1a2b3c4d", False, ("latest", "branch.x.1a2b3c4d")),
    ],
)
def test_a_build_sets_these_tags(
    kinds: list[str], tag: str, dirty: bool, expected: tuple[str, ...]
) -> None:
    assert build_tags(kinds, "x", tag, dirty=dirty) == expected


def test_settings_that_are_not_the_projects_make_a_tag_of_their_own() -> None:
    php, mautic = {"images.php": "8.2"}, {"images.mautic": "8.2"}
    assert variant({}) == ""
    assert len({variant(php), variant(mautic), variant({**php, **mautic})}) == 3
    assert variant({**php, **mautic}) == variant({**mautic, **php})


CASES = {
    "an unknown branch": ({"1": "A", KEY: "A", "branch.y.1": "A"}, ()),
    "a branch alone": ({"1": "A", KEY: "A", "branch.x.1": "A"}, ("1", KEY, "branch.x.1")),
    "several commits": (
        {"1": "A", "2": "B", KEY: "A", KEY2: "B", "branch.x.1": "A", "branch.x.2": "B"},
        ("1", "2", *sorted((KEY, KEY2)), "branch.x.1", "branch.x.2"),
    ),
    "another branch at the same commit": (
        {"1": "A", KEY: "A", "branch.x.1": "A", "branch.y.1": "A"},
        ("branch.x.1",),
    ),
    "another branch with the same content": (
        {"1": "A", "2": "A", KEY: "A", "branch.x.1": "A", "branch.y.2": "A"},
        ("1", "branch.x.1"),
    ),
    "the commit that is latest": (
        {"1": "A", "latest": "A", KEY: "A", "branch.x.1": "A"},
        ("branch.x.1",),
    ),
    "a commit that was latest": (
        {"1": "A", "2": "B", "latest": "B", KEY: "A", "branch.x.1": "A"},
        ("1", KEY, "branch.x.1"),
    ),
    "a tag set by hand": (
        {"1": "A", "v1": "A", KEY: "A", "branch.x.1": "A"},
        ("1", "branch.x.1"),
    ),
    "an image that is the cache": (
        {"1": "A", CACHE: "A", KEY: "A", "branch.x.1": "A"},
        ("1", KEY, "branch.x.1"),
    ),
    "a content key of a build under way": (
        {"1": "A", KEY: "A", KEY2: "B", "branch.x.1": "A"},
        ("1", KEY, "branch.x.1"),
    ),
    "an interrupted clean-up": ({KEY: "A", "branch.x.1": "A"}, (KEY, "branch.x.1")),
    "a branch whose name begins alike": (
        {"1": "A", KEY: "A", "branch.x-y.1": "A"},
        (),
    ),
    "a branch named like a tag": (
        {"latest": "A", CACHE: "A", "branch.x.latest": "A", "branch.x.cache": "A"},
        ("branch.x.cache", "branch.x.latest"),
    ),
    "a rebuilt image": (
        {"1": "B", KEY: "B", "branch.x.1": "B", KEY2: "A"},
        ("1", KEY, "branch.x.1"),
    ),
    "nothing": ({}, ()),
}


@pytest.mark.parametrize("case", CASES)
def test_these_tags_go_with_branch_x(case: str) -> None:
    tags, expected = CASES[case]
    assert removable(tags, "x") == expected


branches = st.text("abcxyz/-_.", min_size=1, max_size=60).filter(
    lambda text: re.fullmatch(r"[a-z]+([/_-][a-z]+)*", text)
)
commits = st.text("0123456789abcdef", min_size=8, max_size=8)
builds = st.lists(
    st.tuples(st.sampled_from(["a", "b", "feature/c"]), commits, st.integers(0, 3)), max_size=12
)


def registry(made: list[tuple[str, str, int]]) -> dict[str, str]:
    """Return the tags after these builds: of a branch, at a commit, with some content."""
    tags: dict[str, str] = {}
    for branch, commit, content in made:
        digest = f"sha256:{content}"
        for tag in (
            content_key(content),
            *build_tags(["short-sha"], slug(branch), commit, dirty=False),
        ):
            tags[tag] = digest
    return tags


@given(builds)
def test_cleaning_up_one_branch_keeps_every_other_whole(made: list[tuple[str, str, int]]) -> None:
    tags = registry(made)
    for tag in removable(tags, slug("a")):
        del tags[tag]
    assert not any(tag.startswith("branch.a.") for tag in tags)
    for branch, commit, _ in made:
        if branch != "a":
            assert commit in tags
            assert branch_marker(slug(branch), commit) in tags


@given(builds)
def test_cleaning_up_every_branch_leaves_nothing(made: list[tuple[str, str, int]]) -> None:
    tags = registry(made)
    for branch in {branch for branch, _, _ in made}:
        for tag in removable(tags, slug(branch)):
            del tags[tag]
    # A commit built with two contents has moved: the key it left is nobody's.
    moved = {content_key(content) for _, _, content in made}
    assert tags.keys() <= moved
    assert all(is_content_key(tag) for tag in tags)


@given(builds, st.data())
def test_an_interrupted_clean_up_is_finished_by_the_next(
    made: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    tags, whole = registry(made), registry(made)
    for tag in removable(whole, "a"):
        del whole[tag]
    first = removable(tags, "a")
    for tag in first[: data.draw(st.integers(0, len(first)))]:
        del tags[tag]
    for tag in removable(tags, "a"):
        del tags[tag]
    assert tags == whole


@given(branches, commits)
def test_every_branch_gives_a_marker_a_registry_takes(branch: str, commit: str) -> None:
    marker = branch_marker(slug(branch), f"{commit}-dirty-{commit}")
    assert OCI_TAG.fullmatch(marker)


def test_a_tag_that_only_branches_use_which_go_together_goes() -> None:
    tags = {"1": "A", KEY: "A", "branch.x.1": "A", "branch.y.1": "A", "2": "B", "branch.z.2": "B"}
    assert slugs(tags) == {"x", "y", "z"}
    assert removable(tags, "x") == ("branch.x.1",)
    assert removable(tags, "x", "y") == ("1", KEY, "branch.x.1", "branch.y.1")
    assert removable(tags, "x", "y", used={"1"}) == ("branch.x.1", "branch.y.1")
    assert removable(tags) == ()


def test_content_keys_are_shown_by_their_first_digits() -> None:
    tags = ["1a2b3c4d", KEY, "branch.x.1a2b3c4d", "content-of-mine"]
    assert shown(tags) == f"1a2b3c4d, {KEY[:20]}, branch.x.1a2b3c4d, content-of-mine"
    assert shown([]) == ""
